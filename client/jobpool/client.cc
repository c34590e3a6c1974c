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
#include "client/jobpool/tls.h"
#include "jobpool/v1/echo_service.grpc.pb.h"
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

constexpr absl::Duration kKeepaliveTimeout = absl::Seconds(10);

int Milliseconds(absl::Duration duration) { return static_cast<int>(absl::ToInt64Milliseconds(duration)); }

std::shared_ptr<grpc::Channel> MakeChannel(const std::string& address, const ClientOptions& options,
                                           const std::shared_ptr<grpc::ChannelCredentials>& credentials,
                                           bool shares_connections) {
  grpc::ChannelArguments arguments;
  // Else channels to the same address are one connection.
  if (!shares_connections) arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  // The time that one attempt to connect gets, 20 s unless told. Longer than a call waits for it, so that it
  // is the call's limit that tells.
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS,
                   Milliseconds(options.connect_timeout + absl::Seconds(1)));
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, Milliseconds(options.keepalive_time));
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, Milliseconds(kKeepaliveTimeout));
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);  // a call may be silent for ever: no limit
  if (IsLoopback(address)) arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  return grpc::CreateCustomChannel(address, credentials, arguments);
}

}  // namespace

/// Thread-safe, as channels and stubs are; constant after construction.
class Client::Connection {
 public:
  Connection(absl::string_view address, const ClientOptions& options,
             const std::shared_ptr<grpc::ChannelCredentials>& credentials, bool shares_connections)
      : address_(address),
        options_(options),
        credentials_(credentials),
        channel_(MakeChannel(address_, options, credentials, shares_connections)),
        echo_(v1::EchoService::NewStub(channel_)),
        jobs_(v1::JobService::NewStub(channel_)),
        threads_(v1::ThreadService::NewStub(channel_)),
        pools_(v1::PoolService::NewStub(channel_)) {}

  std::unique_ptr<Connection> Another() const {
    return std::make_unique<Connection>(address_, options_, credentials_, /*shares_connections=*/false);
  }

  const std::string& address() const { return address_; }
  bool tls() const { return options_.tls.any(); }
  bool is_up() const { return channel_->GetState(/*try_to_connect=*/false) == GRPC_CHANNEL_READY; }
  v1::EchoService::Stub& echo() { return *echo_; }
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
    SetDeadline(context, options);
    Response response;
    const grpc::Status status = (stub.*method)(&context, request, &response);
    if (!status.ok()) return ToAbslStatus(status, address_, tls());
    return response;
  }

  static void SetDeadline(grpc::ClientContext& context, const CallOptions& options) {
    if (options.deadline != absl::InfiniteFuture())
      context.set_deadline(absl::ToChronoTime(options.deadline));
  }

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

 private:
  const std::string address_;
  const ClientOptions options_;
  const std::shared_ptr<grpc::ChannelCredentials> credentials_;
  const std::shared_ptr<grpc::Channel> channel_;
  const std::unique_ptr<v1::EchoService::Stub> echo_;
  const std::unique_ptr<v1::JobService::Stub> jobs_;
  const std::unique_ptr<v1::ThreadService::Stub> threads_;
  const std::unique_ptr<v1::PoolService::Stub> pools_;
};

/// On the client's connection.
class Client::JobCall final : public StartedCall {
 public:
  template <typename Request>
  using Method = void (v1::JobService::Stub::async::*)(grpc::ClientContext*, const Request*, v1::Job*,
                                                       std::function<void(grpc::Status)>);

  /// What is called at the end may destroy this, and holds nothing of it.
  template <typename Request>
  static std::unique_ptr<StartedCall> Start(Connection& connection, Method<Request> method,
                                            const Request& request, const CallOptions& options,
                                            JobDone done) {
    auto call = std::make_unique<JobCall>();
    Connection::SetDeadline(call->context_, options);
    (connection.jobs().async()->*method)(
        &call->context_, &request, &call->job_,
        [&connection, job = &call->job_, done = std::move(done)](const grpc::Status& status) {
          if (status.ok()) {
            done(std::move(*job));
          } else {
            done(ToAbslStatus(status, connection.address(), connection.tls()));
          }
        });
    return call;
  }

  void Cancel() override { context_.TryCancel(); }

 private:
  grpc::ClientContext context_;
  v1::Job job_;
};

/// On the client's connection.
class Client::Echo final : public EchoCall {
 public:
  Echo(Connection& connection, const CallOptions& options) : connection_(connection) {
    Connection::SetDeadline(context_, options);
    stream_ = connection.echo().UppercaseText(&context_);
  }

  ~Echo() override {
    if (ended_) return;
    context_.TryCancel();
    stream_->Finish();
  }

  absl::StatusOr<v1::UppercaseTextResponse> Say(const std::string& text) override {
    v1::UppercaseTextRequest request;
    request.set_text(text);
    v1::UppercaseTextResponse response;
    if (stream_->Write(request) && stream_->Read(&response)) return response;
    const absl::Status status = Finish();
    return status.ok() ? absl::InternalError("the server ended the call before it answered") : status;
  }

  absl::Status End() override {
    stream_->WritesDone();
    return Finish();
  }

 private:
  absl::Status Finish() {
    ended_ = true;
    return ToAbslStatus(stream_->Finish(), connection_.address(), connection_.tls());
  }

  Connection& connection_;
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReaderWriter<v1::UppercaseTextRequest, v1::UppercaseTextResponse>> stream_;
  bool ended_ = false;
};

/// A call of the client's connection whose messages, of `Message`, come through `Reader` until it ends;
/// cancelled if it goes before that.
template <typename Interface, typename Message, typename Reader>
class Client::ReadingCall : public Interface {
 public:
  ~ReadingCall() override {
    if (ended_) return;
    context_.TryCancel();
    stream_->Finish();
  }

  absl::StatusOr<std::optional<Message>> Next() override {
    Message message;
    if (stream_->Read(&message)) return message;
    ended_ = true;
    const absl::Status status = ToAbslStatus(stream_->Finish(), connection_.address(), connection_.tls());
    if (!status.ok()) return status;
    return std::nullopt;
  }

 protected:
  ReadingCall(Connection& connection, const CallOptions& options) : connection_(connection) {
    Connection::SetDeadline(context_, options);
  }

  Connection& connection_;
  grpc::ClientContext context_;
  std::unique_ptr<Reader> stream_;

 private:
  bool ended_ = false;
};

class Client::Watch final
    : public ReadingCall<WatchCall, v1::WatchJobsResponse, grpc::ClientReader<v1::WatchJobsResponse>> {
 public:
  Watch(Connection& connection, const v1::WatchJobsRequest& request, const CallOptions& options)
      : ReadingCall(connection, options) {
    stream_ = connection_.jobs().WatchJobs(&context_, request);
  }
};

class Client::Stream final
    : public ReadingCall<StreamCall, v1::StreamJobsResponse,
                         grpc::ClientReaderWriter<v1::StreamJobsRequest, v1::StreamJobsResponse>> {
 public:
  Stream(Connection& connection, const CallOptions& options) : ReadingCall(connection, options) {
    stream_ = connection_.jobs().StreamJobs(&context_);
  }

  bool Send(const v1::StreamJobsRequest& request) override { return stream_->Write(request); }
  void EndSending() override { stream_->WritesDone(); }
};

absl::StatusOr<std::unique_ptr<Client>> Client::Create(absl::string_view address,
                                                       const ClientOptions& options) {
  if (absl::Status status = CheckAddress(address); !status.ok()) return status;
  const auto credentials = MakeCredentials(options.tls);
  if (!credentials.ok()) return credentials.status();
  return std::unique_ptr<Client>(
      new Client(std::make_unique<Connection>(address, options, *credentials, /*shares_connections=*/true)));
}

Client::Client(std::unique_ptr<Connection> connection) : connection_(std::move(connection)) {}
Client::~Client() = default;

std::unique_ptr<Client> Client::NewConnection() const {
  return std::unique_ptr<Client>(new Client(connection_->Another()));
}

absl::StatusOr<v1::Job> Client::SubmitJob(const v1::SubmitJobRequest& request, const CallOptions& options) {
  return connection_->Call(connection_->jobs(), &v1::JobService::Stub::SubmitJob, request, options);
}

absl::StatusOr<v1::BatchSubmitJobsResponse> Client::BatchSubmitJobs(const v1::BatchSubmitJobsRequest& request,
                                                                    const CallOptions& options) {
  return connection_->Call(connection_->jobs(), &v1::JobService::Stub::BatchSubmitJobs, request, options);
}

absl::StatusOr<v1::Job> Client::RunJob(const v1::RunJobRequest& request, const CallOptions& options) {
  return connection_->Call(connection_->jobs(), &v1::JobService::Stub::RunJob, request, options);
}

std::unique_ptr<StartedCall> Client::StartSubmitJob(const v1::SubmitJobRequest& request,
                                                    const CallOptions& options, JobDone done) {
  return JobCall::Start<v1::SubmitJobRequest>(*connection_, &v1::JobService::Stub::async::SubmitJob, request,
                                              options, std::move(done));
}

std::unique_ptr<StartedCall> Client::StartRunJob(const v1::RunJobRequest& request, const CallOptions& options,
                                                 JobDone done) {
  return JobCall::Start<v1::RunJobRequest>(*connection_, &v1::JobService::Stub::async::RunJob, request,
                                           options, std::move(done));
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

absl::StatusOr<v1::Job> Client::RetryJob(const v1::RetryJobRequest& request, const CallOptions& options) {
  return connection_->Call(connection_->jobs(), &v1::JobService::Stub::RetryJob, request, options);
}

absl::StatusOr<v1::ExplainJobResponse> Client::ExplainJob(const v1::ExplainJobRequest& request,
                                                          const CallOptions& options) {
  return connection_->Call(connection_->jobs(), &v1::JobService::Stub::ExplainJob, request, options);
}

absl::StatusOr<google::protobuf::Empty> Client::DeleteJob(const v1::DeleteJobRequest& request,
                                                          const CallOptions& options) {
  return connection_->Call(connection_->jobs(), &v1::JobService::Stub::DeleteJob, request, options);
}

absl::StatusOr<std::unique_ptr<StreamCall>> Client::StreamJobs(const CallOptions& options) {
  if (absl::Status status = connection_->AwaitConnection(options.deadline); !status.ok()) return status;
  return std::unique_ptr<StreamCall>(std::make_unique<Stream>(*connection_, options));
}

absl::StatusOr<std::unique_ptr<WatchCall>> Client::WatchJobs(const v1::WatchJobsRequest& request,
                                                             const CallOptions& options) {
  if (absl::Status status = connection_->AwaitConnection(options.deadline); !status.ok()) return status;
  return std::unique_ptr<WatchCall>(std::make_unique<Watch>(*connection_, request, options));
}

absl::StatusOr<std::unique_ptr<EchoCall>> Client::UppercaseText(const CallOptions& options) {
  if (absl::Status status = connection_->AwaitConnection(options.deadline); !status.ok()) return status;
  if (!connection_->is_up()) {  // so the call fails: say so now, not at its first message
    if (absl::Status status = Echo(*connection_, options).End(); !status.ok()) return status;
  }
  return std::unique_ptr<EchoCall>(std::make_unique<Echo>(*connection_, options));
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

absl::StatusOr<v1::Pool> Client::UpdatePool(const v1::UpdatePoolRequest& request,
                                            const CallOptions& options) {
  return connection_->Call(connection_->pools(), &v1::PoolService::Stub::UpdatePool, request, options);
}

absl::StatusOr<v1::Pool> Client::PausePool(const v1::PausePoolRequest& request, const CallOptions& options) {
  return connection_->Call(connection_->pools(), &v1::PoolService::Stub::PausePool, request, options);
}

absl::StatusOr<v1::Pool> Client::ResumePool(const v1::ResumePoolRequest& request,
                                            const CallOptions& options) {
  return connection_->Call(connection_->pools(), &v1::PoolService::Stub::ResumePool, request, options);
}

absl::StatusOr<v1::Pool> Client::DrainPool(const v1::DrainPoolRequest& request, const CallOptions& options) {
  return connection_->Call(connection_->pools(), &v1::PoolService::Stub::DrainPool, request, options);
}

}  // namespace jobpool
