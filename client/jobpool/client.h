#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include <google/protobuf/empty.pb.h>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "jobpool/v1/echo_service.pb.h"
#include "jobpool/v1/job_service.pb.h"
#include "jobpool/v1/pool_service.pb.h"
#include "jobpool/v1/thread_service.pb.h"

namespace jobpool {

/// Paths of files in PEM form. Any that is set means TLS.
struct TlsFiles {
  /// The authorities that the server's certificate is checked against. Default:
  /// the system's.
  std::string ca = {};
  /// What the client shows where the server wants to know it, and its key,
  /// without a password. Both or none.
  std::string cert = {};
  std::string key = {};

  bool any() const { return !ca.empty() || !cert.empty() || !key.empty(); }
};

/// How a Client connects.
struct ClientOptions {
  /// How long a call waits for a connection that is not up yet before it fails
  /// with UNAVAILABLE. A refused connection fails at once.
  absl::Duration connect_timeout = absl::Seconds(5);
  /// Default: no TLS.
  TlsFiles tls = {};
  /// How long a connection with open calls may be silent before the server is
  /// asked whether it is there; without an answer for 10 s the calls end. Keeps
  /// balancers from dropping it, too. The server takes no less than 10 s.
  absl::Duration keepalive_time = absl::Seconds(30);
};

/// How one call is made.
struct CallOptions {
  /// When the call is given up with DEADLINE_EXCEEDED. Default: never.
  absl::Time deadline = absl::InfiniteFuture();
};

/// A call that was started and is not waited for. Destroy it no sooner than its `done` is
/// called, there at the earliest; outlived by its client.
class StartedCall {
 public:
  virtual ~StartedCall() = default;
  /// Gives the call up: `done` is called soon, with CANCELLED unless the answer was faster.
  /// Thread-safe.
  virtual void Cancel() = 0;
};

/// Told once how a started call ended, on a thread of gRPC's: it must not wait.
using JobDone = std::function<void(absl::StatusOr<v1::Job>)>;

/// An open call of EchoService.UppercaseText. Cancelled when it is destroyed
/// before its end. Not thread-safe; outlived by its client.
class EchoCall {
 public:
  virtual ~EchoCall() = default;
  /// Says `text`, which is UTF-8, and waits for the answer. After an error only
  /// the destructor may be called.
  virtual absl::StatusOr<v1::UppercaseTextResponse> Say(const std::string& text) = 0;
  /// There is no more to say. REQUIRES: called once, last.
  virtual absl::Status End() = 0;
};

/// An open call of JobService.WatchJobs. Cancelled when it is destroyed before its end.
/// Not thread-safe; outlived by its client.
class WatchCall {
 public:
  virtual ~WatchCall() = default;
  /// Waits for the next message; unset: all jobs have ended, and that was the last. After
  /// that, or an error, only the destructor may be called.
  virtual absl::StatusOr<std::optional<v1::WatchJobsResponse>> Next() = 0;
};

/// An open call of JobService.StreamJobs. Cancelled when it is destroyed before its end.
/// Outlived by its client. Not thread-safe, but one thread may send while another reads:
/// who sends much must not wait with reading, since a server that has enough on its way
/// takes no more.
class StreamCall {
 public:
  virtual ~StreamCall() = default;
  /// Waits until the message can be sent. False: the call is over, and Next says why.
  virtual bool Send(const v1::StreamJobsRequest& request) = 0;
  /// There is no more to send. REQUIRES: called once, after the last Send.
  virtual void EndSending() = 0;
  /// Waits for the next message; unset: every entry was answered, and that was the last.
  /// After that, or an error, only the destructor may be called.
  virtual absl::StatusOr<std::optional<v1::StreamJobsResponse>> Next() = 0;
};

/// A connection to a jobpool server, with one blocking method for each RPC; what
/// they do is said in proto/jobpool/v1. Connects at the first call and again
/// after a loss.
///
/// A call that fails gives the server's code and message, and the google.rpc
/// details as payloads: see errors.h. Where the server could not be reached or
/// did not answer in time, the message names its address. Nothing is retried.
///
/// Thread-safe: calls of several threads share the connection and run at the
/// same time. Must outlive its calls.
class Client {
 public:
  /// A client of the server at `address`: `HOST:PORT`, `[IPV6]:PORT`,
  /// `unix:PATH`, or a URI of another gRPC scheme (`dns:`, `ipv4:`, `ipv6:`,
  /// `unix-abstract:`). Reads the TLS files; does not connect yet.
  /// INVALID_ARGUMENT: the address is none of these, or a file is not what it
  /// should be.
  static absl::StatusOr<std::unique_ptr<Client>> Create(absl::string_view address,
                                                        const ClientOptions& options = ClientOptions());

  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  /// Another client of the same server, with the same options, that shares no connection with this one.
  std::unique_ptr<Client> NewConnection() const;

  // JobService

  absl::StatusOr<v1::Job> SubmitJob(const v1::SubmitJobRequest& request,
                                    const CallOptions& options = CallOptions());
  absl::StatusOr<v1::BatchSubmitJobsResponse> BatchSubmitJobs(const v1::BatchSubmitJobsRequest& request,
                                                              const CallOptions& options = CallOptions());
  absl::StatusOr<v1::Job> RunJob(const v1::RunJobRequest& request,
                                 const CallOptions& options = CallOptions());
  /// SubmitJob and RunJob without a thread that waits: many calls can be under way at the
  /// same time. Where there is no connection yet, the call waits for it until its deadline, or until
  /// connecting fails. `request` must live until `done` is called, which can be before they
  /// return, on another thread.
  std::unique_ptr<StartedCall> StartSubmitJob(const v1::SubmitJobRequest& request, const CallOptions& options,
                                              JobDone done);
  std::unique_ptr<StartedCall> StartRunJob(const v1::RunJobRequest& request, const CallOptions& options,
                                           JobDone done);
  absl::StatusOr<v1::Job> GetJob(const v1::GetJobRequest& request,
                                 const CallOptions& options = CallOptions());
  absl::StatusOr<v1::ListJobsResponse> ListJobs(const v1::ListJobsRequest& request,
                                                const CallOptions& options = CallOptions());
  absl::StatusOr<v1::Job> UpdateJob(const v1::UpdateJobRequest& request,
                                    const CallOptions& options = CallOptions());
  absl::StatusOr<v1::WaitJobsResponse> WaitJobs(const v1::WaitJobsRequest& request,
                                                const CallOptions& options = CallOptions());
  absl::StatusOr<v1::Job> CancelJob(const v1::CancelJobRequest& request,
                                    const CallOptions& options = CallOptions());
  absl::StatusOr<v1::Job> RetryJob(const v1::RetryJobRequest& request,
                                   const CallOptions& options = CallOptions());
  absl::StatusOr<v1::ExplainJobResponse> ExplainJob(const v1::ExplainJobRequest& request,
                                                    const CallOptions& options = CallOptions());
  absl::StatusOr<google::protobuf::Empty> DeleteJob(const v1::DeleteJobRequest& request,
                                                    const CallOptions& options = CallOptions());

  absl::StatusOr<std::unique_ptr<StreamCall>> StreamJobs(const CallOptions& options = CallOptions());
  absl::StatusOr<std::unique_ptr<WatchCall>> WatchJobs(const v1::WatchJobsRequest& request,
                                                       const CallOptions& options = CallOptions());

  // EchoService

  absl::StatusOr<std::unique_ptr<EchoCall>> UppercaseText(const CallOptions& options = CallOptions());

  // ThreadService

  absl::StatusOr<v1::ListThreadsResponse> ListThreads(const v1::ListThreadsRequest& request,
                                                      const CallOptions& options = CallOptions());
  absl::StatusOr<v1::GetActiveCountResponse> GetActiveCount(const v1::GetActiveCountRequest& request,
                                                            const CallOptions& options = CallOptions());
  absl::StatusOr<v1::Thread> GetThread(const v1::GetThreadRequest& request,
                                       const CallOptions& options = CallOptions());
  absl::StatusOr<v1::Thread> GetCurrentThread(const v1::GetCurrentThreadRequest& request,
                                              const CallOptions& options = CallOptions());
  absl::StatusOr<v1::Thread> UpdateThread(const v1::UpdateThreadRequest& request,
                                          const CallOptions& options = CallOptions());

  // PoolService

  absl::StatusOr<v1::ListPoolsResponse> ListPools(const v1::ListPoolsRequest& request,
                                                  const CallOptions& options = CallOptions());
  absl::StatusOr<v1::Pool> GetPool(const v1::GetPoolRequest& request,
                                   const CallOptions& options = CallOptions());
  absl::StatusOr<v1::Pool> UpdatePool(const v1::UpdatePoolRequest& request,
                                      const CallOptions& options = CallOptions());
  absl::StatusOr<v1::Pool> PausePool(const v1::PausePoolRequest& request,
                                     const CallOptions& options = CallOptions());
  absl::StatusOr<v1::Pool> ResumePool(const v1::ResumePoolRequest& request,
                                      const CallOptions& options = CallOptions());
  absl::StatusOr<v1::Pool> DrainPool(const v1::DrainPoolRequest& request,
                                     const CallOptions& options = CallOptions());

 private:
  class Connection;  // the channel and its stubs: gRPC stays out of this header
  class JobCall;
  class Echo;
  template <typename Interface, typename Message, typename Reader>
  class ReadingCall;
  class Stream;
  class Watch;

  explicit Client(std::unique_ptr<Connection> connection);

  const std::unique_ptr<Connection> connection_;
};

}  // namespace jobpool
