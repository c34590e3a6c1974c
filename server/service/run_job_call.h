#pragma once

#include <memory>

#include <grpcpp/support/server_callback.h>

#include "absl/status/status.h"
#include "jobpool/v1/job.pb.h"
#include "server/base/mutex.h"
#include "server/pipeline/pipeline.h"
#include "server/service/call.h"

namespace jobpool {

/// One call of RunJob: submits, and answers on the thread that ends the job.
///
/// gRPC and the job both hold it: it is destroyed after gRPC's OnDone and after
/// the job has let go of it, whichever comes last.
class RunJobCall final : public grpc::ServerUnaryReactor,
                         public Waiter,
                         public std::enable_shared_from_this<RunJobCall> {
 public:
  /// `pipeline` and `memory` outlive the call; `response` is gRPC's and lives until OnDone.
  static grpc::ServerUnaryReactor* Start(Pipeline& pipeline, CallMemory& memory, const CallCount& count,
                                         JobSpec spec, bool detach, v1::Job* response);

  void OnJobEnd(const EndedJob& job) override;
  void OnCancel() override;
  void OnDone() override;

 private:
  RunJobCall(Pipeline& pipeline, CallMemory& memory, const CallCount& count, bool detach, v1::Job* response)
      : pipeline_(pipeline), count_(count), held_(memory), response_(response), owns_job_(!detach) {}

  void Submit(JobSpec spec);
  /// Finishes the call, unless that was done; `job` is its answer.
  void FinishOnce(const absl::Status& status, const EndedJob& job = nullptr);

  // OnDone only lets go of a reference: no need for a hop to gRPC's executor,
  // which would cost a seventh of the throughput.
  bool InternalInlineable() override { return true; }

  Pipeline& pipeline_;
  const CallCount count_;

  Mutex mu_;
  HeldMemory held_ ABSL_GUARDED_BY(mu_);
  bool finished_ ABSL_GUARDED_BY(mu_) = false;
  v1::Job* const response_ ABSL_PT_GUARDED_BY(mu_);  // valid until finished_
  std::shared_ptr<LiveJob> job_ ABSL_GUARDED_BY(mu_);
  bool owns_job_ ABSL_GUARDED_BY(mu_);  // whose end it asks for when its caller goes
  std::shared_ptr<RunJobCall> grpc_reference_ ABSL_GUARDED_BY(mu_);  // until OnDone
};

}  // namespace jobpool
