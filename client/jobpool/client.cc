#include "jobpool/client.h"

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>

#include <grpcpp/grpcpp.h>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/jobpool/grpc_status.h"
#include "jobpool/v1/job_service.grpc.pb.h"
#include "jobpool/v1/pool_service.grpc.pb.h"
#include "jobpool/v1/thread_service.grpc.pb.h"

namespace jobpool {
namespace {

/// gRPC would take an address without a port for one of port 443, and one that
/// it does not understand for the name of a host that does not exist.
absl::Status CheckAddress(absl::string_view address) {
  for (absl::string_view scheme : {"unix:", "unix-abstract:", "dns:", "ipv4:", "ipv6:"}) {
    if (absl::StartsWith(address, scheme) && address.size() > scheme.size()) return absl::OkStatus();
  }
  const size_t colon = address.rfind(':');
  if (colon != absl::string_view::npos && colon > 0) {
    const absl::string_view host = address.substr(0, colon);
    const bool one_host =
        host.find(':') == absl::string_view::npos || (host.front() == '[' && host.back() == ']');
    int32_t port = 0;
    if (one_host && absl::SimpleAtoi(address.substr(colon + 1), &port) && port >= 1 && port <= 65535) {
      return absl::OkStatus();
    }
  }
  return absl::InvalidArgumentError(
      absl::StrCat("address '", address, "' must be HOST:PORT, [IPV6]:PORT or unix:PATH"));
}

/// Whether `address` is on this machine, where no proxy of the environment leads.
bool IsLoopback(absl::string_view address) {
  return absl::StartsWith(address, "127.") || absl::StartsWith(address, "localhost:") ||
         absl::StartsWith(address, "[::1]:");
}

std::shared_ptr<grpc::Channel> MakeChannel(const std::string& address, const ClientOptions& options) {
  grpc::ChannelArguments arguments;
  // The time that one attempt to connect gets, 20 s unless told. Longer than a call waits for it, so that it
  // is the call's limit that tells.
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS,
                   static_cast<int>(absl::ToInt64Milliseconds(options.connect_timeout + absl::Seconds(1))));
  if (IsLoopback(address)) arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  return grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments);
}

}  // namespace

/// Thread-safe, as channels and stubs are; constant after construction.
class Client::Connection {
 public:
  Connection(absl::string_view address, const ClientOptions& options)
      : address_(address),
        options_(options),
        channel_(MakeChannel(address_, options)),
        jobs_(v1::JobService::NewStub(channel_)),
        threads_(v1::ThreadService::NewStub(channel_)),
        pools_(v1::PoolService::NewStub(channel_)) {}

  v1::JobService::Stub& jobs() { return *jobs_; }
  v1::ThreadService::Stub& threads() { return *threads_; }
  v1::PoolService::Stub& pools() { return *pools_; }

  /// Makes one call: `method` of `stub`.
  template <typename Stub, typename Request, typename Response>
  absl::StatusOr<Response> Call(Stub& stub,
                                grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Response*),
                                const Request& request, const CallOptions& options) {
    if (absl::Status status = AwaitConnection(options.deadline); !status.ok()) return status;
    grpc::ClientContext context;
    if (options.deadline != absl::InfiniteFuture())
      context.set_deadline(absl::ToChronoTime(options.deadline));
    Response response;
    const grpc::Status status = (stub.*method)(&context, request, &response);
    if (!status.ok()) return ToAbslStatus(status, address_);
    return response;
  }

 private:
  /// Waits for a connection attempt under way, which a call by itself does
  /// without a limit of its own. OK if it is up, and also if it failed: then the
  /// call fails at once, and knows why.
  absl::Status AwaitConnection(absl::Time deadline) {
    const absl::Time give_up = absl::Now() + options_.connect_timeout;
    const auto until = absl::ToChronoTime(std::min(give_up, deadline));
    while (true) {
      const grpc_connectivity_state state = channel_->GetState(/*try_to_connect=*/true);
      if (state != GRPC_CHANNEL_IDLE && state != GRPC_CHANNEL_CONNECTING) return absl::OkStatus();
      if (channel_->WaitForStateChange(state, until)) continue;
      if (deadline < give_up) return absl::OkStatus();  // the call says that its deadline has passed
      return absl::UnavailableError(absl::StrCat("cannot reach ", address_, ": no connection within ",
                                                 absl::FormatDuration(options_.connect_timeout)));
    }
  }

  const std::string address_;
  const ClientOptions options_;
  const std::shared_ptr<grpc::Channel> channel_;
  const std::unique_ptr<v1::JobService::Stub> jobs_;
  const std::unique_ptr<v1::ThreadService::Stub> threads_;
  const std::unique_ptr<v1::PoolService::Stub> pools_;
};

absl::StatusOr<std::unique_ptr<Client>> Client::Create(absl::string_view address,
                                                       const ClientOptions& options) {
  if (absl::Status status = CheckAddress(address); !status.ok()) return status;
  return std::unique_ptr<Client>(new Client(std::make_unique<Connection>(address, options)));
}

Client::Client(std::unique_ptr<Connection> connection) : connection_(std::move(connection)) {}
Client::~Client() = default;

absl::StatusOr<v1::Job> Client::SubmitJob(const v1::SubmitJobRequest& request, const CallOptions& options) {
  return connection_->Call(connection_->jobs(), &v1::JobService::Stub::SubmitJob, request, options);
}

absl::StatusOr<v1::Job> Client::RunJob(const v1::RunJobRequest& request, const CallOptions& options) {
  return connection_->Call(connection_->jobs(), &v1::JobService::Stub::RunJob, request, options);
}

absl::StatusOr<v1::Job> Client::GetJob(const v1::GetJobRequest& request, const CallOptions& options) {
  return connection_->Call(connection_->jobs(), &v1::JobService::Stub::GetJob, request, options);
}

absl::StatusOr<v1::ListJobsResponse> Client::ListJobs(const v1::ListJobsRequest& request,
                                                      const CallOptions& options) {
  return connection_->Call(connection_->jobs(), &v1::JobService::Stub::ListJobs, request, options);
}

absl::StatusOr<v1::Job> Client::UpdateJob(const v1::UpdateJobRequest& request, const CallOptions& options) {
  return connection_->Call(connection_->jobs(), &v1::JobService::Stub::UpdateJob, request, options);
}

absl::StatusOr<v1::WaitJobsResponse> Client::WaitJobs(const v1::WaitJobsRequest& request,
                                                      const CallOptions& options) {
  return connection_->Call(connection_->jobs(), &v1::JobService::Stub::WaitJobs, request, options);
}

absl::StatusOr<v1::Job> Client::CancelJob(const v1::CancelJobRequest& request, const CallOptions& options) {
  return connection_->Call(connection_->jobs(), &v1::JobService::Stub::CancelJob, request, options);
}

absl::StatusOr<google::protobuf::Empty> Client::DeleteJob(const v1::DeleteJobRequest& request,
                                                          const CallOptions& options) {
  return connection_->Call(connection_->jobs(), &v1::JobService::Stub::DeleteJob, request, options);
}

absl::StatusOr<v1::ListThreadsResponse> Client::ListThreads(const v1::ListThreadsRequest& request,
                                                            const CallOptions& options) {
  return connection_->Call(connection_->threads(), &v1::ThreadService::Stub::ListThreads, request, options);
}

absl::StatusOr<v1::GetActiveCountResponse> Client::GetActiveCount(const v1::GetActiveCountRequest& request,
                                                                  const CallOptions& options) {
  return connection_->Call(connection_->threads(), &v1::ThreadService::Stub::GetActiveCount, request,
                           options);
}

absl::StatusOr<v1::Thread> Client::GetThread(const v1::GetThreadRequest& request,
                                             const CallOptions& options) {
  return connection_->Call(connection_->threads(), &v1::ThreadService::Stub::GetThread, request, options);
}

absl::StatusOr<v1::Thread> Client::GetCurrentThread(const v1::GetCurrentThreadRequest& request,
                                                    const CallOptions& options) {
  return connection_->Call(connection_->threads(), &v1::ThreadService::Stub::GetCurrentThread, request,
                           options);
}

absl::StatusOr<v1::Thread> Client::UpdateThread(const v1::UpdateThreadRequest& request,
                                                const CallOptions& options) {
  return connection_->Call(connection_->threads(), &v1::ThreadService::Stub::UpdateThread, request, options);
}

absl::StatusOr<v1::ListPoolsResponse> Client::ListPools(const v1::ListPoolsRequest& request,
                                                        const CallOptions& options) {
  return connection_->Call(connection_->pools(), &v1::PoolService::Stub::ListPools, request, options);
}

absl::StatusOr<v1::Pool> Client::GetPool(const v1::GetPoolRequest& request, const CallOptions& options) {
  return connection_->Call(connection_->pools(), &v1::PoolService::Stub::GetPool, request, options);
}

}  // namespace jobpool
