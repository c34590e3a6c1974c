#include "server/service/echo_service.h"

#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "server/job/errors.h"
#include "server/service/call.h"
#include "server/service/open_call.h"

namespace jobpool {

// One call of UppercaseText. The service holds it too, until it is over. It reads a
// message only when the answer before has been written: a call never holds more
// than one.
class EchoService::UppercaseCall final
    : public OpenCall<UppercaseCall,
                      grpc::ServerBidiReactor<v1::UppercaseTextRequest, v1::UppercaseTextResponse>> {
 public:
  UppercaseCall(EchoService& service, const grpc::CallbackServerContext& context)
      : OpenCall(CallCount(*service.uppercase_text_), service.memory_),
        service_(service),
        context_(context) {}

  void Start() {
    Share();
    if (const absl::Status added = service_.Add(shared_from_this()); !added.ok()) {
      FinishOnce(added);
    } else {
      ReadNext();
    }
  }

  void OnReadDone(bool ok) override {
    if (!ok) {  // the client has no more to say, or has gone
      FinishOnce(context_.IsCancelled() ? CallCancelledError() : absl::OkStatus());
      return;
    }
    v1::UppercaseTextRequest request;
    request.Swap(&request_);  // with all that it holds, which would else stay until the next one
    const size_t bytes = request.ByteSizeLong();
    absl::Status status;
    if (bytes > kMaxMessageBytes) {
      status = InvalidFieldsError(
          {{"text", absl::StrCat("the message must be at most ", kMaxMessageBytes, " bytes, has ", bytes)}});
    } else {
      MutexLock lock(mu_);
      status = held_.TakeMessage(2 * bytes);  // the answer, and what gRPC makes of it
      if (status.ok() && !finished_) {
        response_.set_text(std::move(*request.mutable_text()));
        absl::AsciiStrToUpper(response_.mutable_text());
        StartWrite(&response_);
      }
    }
    if (!status.ok()) FinishOnce(status);
  }

  void OnWriteDone(bool ok) override {
    if (ok) {
      {
        MutexLock lock(mu_);
        held_.Release();
        v1::UppercaseTextResponse().Swap(&response_);
      }
      ReadNext();
    } else {
      FinishOnce(CallCancelledError());
    }
  }

  void OnCancel() override { FinishOnce(CallCancelledError()); }

 private:
  void OnOver() override { service_.Remove(shared_from_this()); }

  void ReadNext() {
    MutexLock lock(mu_);
    if (!finished_) StartRead(&request_);
  }

  EchoService& service_;
  const grpc::CallbackServerContext& context_;  // lives until OnDone

  // gRPC's while it reads the one or writes the other; never both at a time.
  v1::UppercaseTextRequest request_;
  v1::UppercaseTextResponse response_;
};

EchoService::EchoService(CallMemory& memory, RpcMetrics& metrics)
    : memory_(memory),
      uppercase_text_(metrics.Method("jobpool.v1.EchoService", "UppercaseText", "bidi_stream")) {}

EchoService::~EchoService() = default;

void EchoService::Shutdown() {
  std::set<std::shared_ptr<UppercaseCall>> calls;
  {
    MutexLock lock(mu_);
    shut_down_ = true;
    calls.swap(calls_);
  }
  for (const auto& call : calls) call->FinishOnce(ShuttingDownError());
}

grpc::ServerBidiReactor<v1::UppercaseTextRequest, v1::UppercaseTextResponse>* EchoService::UppercaseText(
    grpc::CallbackServerContext* context) {
  const auto call = std::make_shared<UppercaseCall>(*this, *context);
  call->Start();
  return call.get();
}

absl::Status EchoService::Add(const std::shared_ptr<UppercaseCall>& call) {
  MutexLock lock(mu_);
  if (shut_down_) return ShuttingDownError();
  if (calls_.size() >= kMaxCalls) return TooManyCallsError("calls of UppercaseText are open", kMaxCalls);
  calls_.insert(call);
  return absl::OkStatus();
}

void EchoService::Remove(const std::shared_ptr<UppercaseCall>& call) {
  MutexLock lock(mu_);
  calls_.erase(call);
}

}  // namespace jobpool
