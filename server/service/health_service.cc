#include "server/service/health_service.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "server/job/errors.h"
#include "server/job/validation.h"
#include "server/service/call.h"
#include "server/service/open_call.h"

namespace jobpool {

using grpc::health::v1::HealthCheckRequest;
using grpc::health::v1::HealthCheckResponse;

// One call of Watch. The service holds it too, until it is over; it writes the
// newest status when the write before is done.
class HealthService::WatchCall final
    : public OpenCall<WatchCall, grpc::ServerWriteReactor<HealthCheckResponse>> {
 public:
  WatchCall(HealthService& service, bool known)
      : OpenCall(CallCount(*service.watch_), service.memory_), service_(service), known_(known) {}

  /// `status`: what speaks against it.
  void Start(absl::Status status) {
    Share();
    if (status.ok()) status = HoldOpen();
    if (status.ok()) status = service_.Add(shared_from_this());
    if (!status.ok()) FinishOnce(status);
  }

  void Send(bool serving) {
    MutexLock lock(mu_);
    next_ = !known_   ? HealthCheckResponse::SERVICE_UNKNOWN
            : serving ? HealthCheckResponse::SERVING
                      : HealthCheckResponse::NOT_SERVING;
    WriteNext();
  }

  void OnWriteDone(bool ok) override {
    {
      MutexLock lock(mu_);
      writing_ = false;
      if (ok) WriteNext();
    }
    if (!ok) FinishOnce(CallCancelledError());
  }

  void OnCancel() override { FinishOnce(CallCancelledError()); }

 private:
  void OnOver() override { service_.Remove(shared_from_this()); }

  void WriteNext() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    if (writing_ || finished_ || next_ == last_) return;
    writing_ = true;
    last_ = next_;
    response_.set_status(last_);
    StartWrite(&response_);
  }

  HealthService& service_;
  const bool known_;

  bool writing_ ABSL_GUARDED_BY(mu_) = false;
  HealthCheckResponse::ServingStatus next_ ABSL_GUARDED_BY(mu_) = HealthCheckResponse::UNKNOWN;
  HealthCheckResponse::ServingStatus last_ ABSL_GUARDED_BY(mu_) = HealthCheckResponse::UNKNOWN;
  HealthCheckResponse response_;  // gRPC reads it while writing_
};

HealthService::HealthService(std::vector<std::string> services, CallMemory& memory, RpcMetrics& metrics)
    : memory_(memory),
      services_(services.begin(), services.end()),
      check_(metrics.Method("grpc.health.v1.Health", "Check")),
      watch_(metrics.Method("grpc.health.v1.Health", "Watch", "server_stream")) {}

HealthService::~HealthService() = default;

void HealthService::SetServing(bool serving) {
  // Under the lock, so that every watch hears the statuses in their order.
  MutexLock lock(mu_);
  serving_ = serving;
  for (const auto& watch : watches_) watch->Send(serving);
}

void HealthService::Shutdown() {
  std::set<std::shared_ptr<WatchCall>> watches;
  {
    MutexLock lock(mu_);
    shut_down_ = true;
    watches.swap(watches_);
  }
  for (const auto& watch : watches) watch->FinishOnce(ShuttingDownError());
}

grpc::ServerUnaryReactor* HealthService::Check(grpc::CallbackServerContext*,
                                               const HealthCheckRequest* request,
                                               HealthCheckResponse* response) {
  return AnswerInline(*check_, memory_, *request, response, [&]() -> absl::Status {
    if (!Knows(request->service())) {
      return ServiceNotFoundError(CutAtCharacter(request->service(), 200));  // of any length, from a client
    }
    MutexLock lock(mu_);
    response->set_status(serving_ ? HealthCheckResponse::SERVING : HealthCheckResponse::NOT_SERVING);
    return absl::OkStatus();
  });
}

grpc::ServerWriteReactor<HealthCheckResponse>* HealthService::Watch(grpc::CallbackServerContext*,
                                                                    const HealthCheckRequest* request) {
  const auto watch = std::make_shared<WatchCall>(*this, Knows(request->service()));
  // gRPC keeps the request for as long as the call is open.
  watch->Start(request->ByteSizeLong() <= kMaxWatchRequestBytes
                   ? absl::OkStatus()
                   : InvalidFieldsError({{"service", absl::StrCat("the request must be at most ",
                                                                  kMaxWatchRequestBytes, " bytes")}}));
  return watch.get();
}

bool HealthService::Knows(const std::string& service) const {
  return service.empty() || services_.count(service) > 0;
}

absl::Status HealthService::Add(const std::shared_ptr<WatchCall>& watch) {
  MutexLock lock(mu_);
  if (shut_down_) return ShuttingDownError();
  if (watches_.size() >= kMaxWatches) return TooManyCallsError("calls of Watch are open", kMaxWatches);
  watches_.insert(watch);
  watch->Send(serving_);
  return absl::OkStatus();
}

void HealthService::Remove(const std::shared_ptr<WatchCall>& watch) {
  MutexLock lock(mu_);
  watches_.erase(watch);
}

}  // namespace jobpool
