#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include <google/protobuf/arena.h>
#include <grpcpp/support/server_callback.h>

#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "jobpool/v1/job_service.pb.h"
#include "server/pipeline/pipeline.h"
#include "server/service/open_call.h"
#include "server/workers/service_pool.h"

namespace jobpool {

class StreamJobsCall;

/// The open calls of StreamJobs: an open one would keep the server from shutting down.
/// Thread-safe.
class StreamJobsCalls {
 public:
  /// UNAVAILABLE: after Shutdown.
  absl::Status Add(const std::shared_ptr<StreamJobsCall>& call);
  void Remove(const std::shared_ptr<StreamJobsCall>& call);

  /// Ends every call with UNAVAILABLE when it has told the ends that there are, also those
  /// that are yet to come.
  void Shutdown();

 private:
  Mutex mu_;
  bool shut_down_ ABSL_GUARDED_BY(mu_) = false;
  absl::flat_hash_set<std::shared_ptr<StreamJobsCall>> calls_ ABSL_GUARDED_BY(mu_);
};

/// One call of StreamJobs. Takes one message at a time, the small ones on gRPC's thread and
/// the rest on a SERVICE thread, and reads no other while too much is on its way. One answer
/// is being written at a time, with all jobs that have ended since the one before: the first
/// by the thread that ends the job, those that follow by gRPC's.
///
/// Its jobs hold it too.
class StreamJobsCall final
    : public OpenCall<StreamJobsCall,
                      grpc::ServerBidiReactor<v1::StreamJobsRequest, v1::StreamJobsResponse>> {
 public:
  /// `pipeline`, `resources` and `calls` outlive the call. `connection`: the number by which a
  /// full queue knows the connection that it came on.
  static grpc::ServerBidiReactor<v1::StreamJobsRequest, v1::StreamJobsResponse>* Start(
      Pipeline& pipeline, const CallResources& resources, const CallCount& count, StreamJobsCalls& calls,
      uint64_t connection);

  /// Reads no more, and ends with `error` when it has told the ends that there are.
  void End(const absl::Status& error);

  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnCancel() override;

 private:
  struct Slot;

  // A job that nobody waits for here any more.
  struct Left {
    std::shared_ptr<LiveJob> job;
    std::shared_ptr<Slot> slot;
    bool owned = false;
  };

  // What becomes of one entry.
  struct Answer {
    uint64_t tag = 0;
    EndedJob job = nullptr;                                         // null: `said`
    std::unique_ptr<v1::StreamJobsResponse::Entry> said = nullptr;  // an error, or a brief job; no tag
    int64_t bytes = 0;                                              // of those on their way
    int64_t held = 0;                                               // in call memory, beside kJobBytes
  };

  StreamJobsCall(Pipeline& pipeline, const CallResources& resources, const CallCount& count,
                 StreamJobsCalls& calls, uint64_t connection);

  // Submits what has been read.
  void Submit();
  // Of entry `index` of the message; an error: it is refused.
  absl::StatusOr<JobSpec> Decode(int index, absl::Time now);
  // The end of a slot's entry.
  void Tell(Slot& slot, Answer answer);
  static Answer Refusal(uint64_t tag, int64_t bytes, const absl::Status& status);
  // Every entry of what has been read, for which `held` was taken beside the entries.
  void Refuse(const absl::Status& status, int64_t held);
  // Drops the message that was read, with all that it holds.
  void ForgetRequest();
  // Begins to read unless that is over or too much is on its way.
  void ReadNext() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  bool Over() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return finished_ || broken_; }
  void Abandon(std::vector<Left> left);
  // To be called, without locks, after whatever may lead to an answer or to the end.
  void GoOn();
  // REQUIRES: its caller has set writing_, and sending_ has answers.
  void Write();
  void OnOver() override { calls_.Remove(shared_from_this()); }

  Pipeline& pipeline_;
  ServicePool& pool_;
  StreamJobsCalls& calls_;
  const uint64_t connection_;

  // gRPC's while it reads; then it belongs to who submits.
  google::protobuf::Arena request_arena_;
  v1::StreamJobsRequest* request_;

  // Of who has set writing_; gRPC's while it writes.
  google::protobuf::Arena response_arena_;
  std::vector<Answer> sending_;
  size_t sent_ = 0;     // how many of these were written, or are in the message that is being
  size_t written_ = 0;  // before that message

  std::vector<std::shared_ptr<Slot>> slots_ ABSL_GUARDED_BY(mu_);  // of jobs that have not ended
  std::vector<Answer> ended_ ABSL_GUARDED_BY(mu_);                 // in their order; to be sent
  // From the message that was read to the answer that was written.
  int64_t open_jobs_ ABSL_GUARDED_BY(mu_) = 0;
  int64_t open_bytes_ ABSL_GUARDED_BY(mu_) = 0;
  bool reading_ ABSL_GUARDED_BY(mu_) = false;      // or submits what was read
  bool half_closed_ ABSL_GUARDED_BY(mu_) = false;  // its caller has no more to say
  bool writing_ ABSL_GUARDED_BY(mu_) = false;      // or about to
  bool broken_ ABSL_GUARDED_BY(mu_) = false;       // nobody listens any more
  std::optional<absl::Status> end_ ABSL_GUARDED_BY(mu_);
};

}  // namespace jobpool
