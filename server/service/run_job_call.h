#pragma once

#include <memory>

#include <grpcpp/support/server_callback.h>

#include "absl/status/status.h"
#include "jobpool/v1/job.pb.h"
#include "server/pipeline/pipeline.h"
#include "server/service/open_call.h"

namespace jobpool {

/// One call of RunJob: submits, and answers on the thread that ends the job.
///
/// The job holds it too.
class RunJobCall final : public OpenCall<RunJobCall, grpc::ServerUnaryReactor>, public Waiter {
 public:
  /// `pipeline` and `resources` outlive the call; `response` is gRPC's and lives until OnDone.
  static grpc::ServerUnaryReactor* Start(Pipeline& pipeline, const CallResources& resources,
                                         const CallCount& count, JobSpec spec, bool detach,
                                         v1::Job* response);

  void OnJobEnd(const EndedJob& job) override;
  void OnJobLeft() override;
  void OnCancel() override;

 private:
  RunJobCall(Pipeline& pipeline, CallMemory& memory, const CallCount& count, bool detach, v1::Job* response)
      : OpenCall(count, memory), pipeline_(pipeline), response_(response), owns_job_(!detach) {}

  void Submit(JobSpec spec);
  // Nobody waits for the job any more.
  void Abandon(const std::shared_ptr<LiveJob>& job, bool owned);

  // OnDone only lets go of a reference: no need for a hop to gRPC's executor,
  // which would cost a seventh of the throughput.
  bool InternalInlineable() override { return true; }

  Pipeline& pipeline_;
  v1::Job* const response_ ABSL_PT_GUARDED_BY(mu_);  // valid until finished_
  std::shared_ptr<LiveJob> job_ ABSL_GUARDED_BY(mu_);
  bool owns_job_ ABSL_GUARDED_BY(mu_);  // whose end it asks for when its caller goes
};

}  // namespace jobpool
