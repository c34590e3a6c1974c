#include "server/service/run_job_call.h"

#include <utility>

#include "server/job/errors.h"
#include "server/service/job_codec.h"

namespace jobpool {

grpc::ServerUnaryReactor* RunJobCall::Start(Pipeline& pipeline, const CallResources& resources,
                                            const CallCount& count, JobSpec spec, bool detach,
                                            v1::Job* response) {
  const std::shared_ptr<RunJobCall> call(new RunJobCall(pipeline, resources.memory, count, detach, response));
  call->Share();
  const bool may_block = pipeline.admission().MayBlock(spec);
  // While it waits for a thread nobody else counts what it holds.
  const int64_t waiting = may_block ? static_cast<int64_t>(HeapBytes(spec.work) + spec.options.Bytes()) : 0;
  if (const absl::Status held = call->HoldOpen(waiting); !held.ok()) {
    call->FinishOnce(held);
  } else if (!may_block) {
    call->Submit(std::move(spec));
  } else if (!resources.pool.Run([call, spec = std::move(spec)]() mutable {
               call->Submit(std::move(spec));
               call->HoldOnlyOpen();
             })) {
    call->FinishOnce(TooManyCallsError("calls wait for a thread", resources.pool.max_tasks()));
  }
  return call.get();
}

void RunJobCall::Submit(JobSpec spec) {
  {
    MutexLock lock(mu_);
    if (finished_) return;  // the caller has gone
  }
  absl::StatusOr<Submission> submission = pipeline_.admission().Submit(std::move(spec), shared_from_this());
  if (!submission.ok()) {
    FinishOnce(submission.status());
    return;
  }
  const std::shared_ptr<LiveJob>& job = submission->job.live;
  bool owned = false;
  {
    MutexLock lock(mu_);
    if (submission->duplicate) owns_job_ = false;
    if (!finished_) {
      job_ = job;
      return;
    }
    owned = owns_job_;
  }
  // The job has ended, or the caller has gone meanwhile.
  if (job != nullptr) Abandon(job, owned);
}

void RunJobCall::Abandon(const std::shared_ptr<LiveJob>& job, bool owned) {
  job->RemoveWaiter(this);
  if (owned) pipeline_.control().Cancel(job, CancelReason::kCallerGone);
}

void RunJobCall::OnJobEnd(const EndedJob& job) {
  if (ReasonOf(job->outcome->error) == "STORE_UNAVAILABLE") {  // that it was accepted was never said
    FinishOnce(StoreUnavailableError(job->outcome->error));
    return;
  }
  {
    MutexLock lock(mu_);
    if (!ClaimFinish()) return;
    job_.reset();
    // By an estimate, since a large answer that is given up would stay in the arena: a payload that comes
    // back is held once and told twice.
    const size_t bytes = job->Bytes();
    const bool small = bytes <= static_cast<size_t>(CallMemory::kSmallMessageBytes);
    const bool fits = small || held_.TakeMessage(2 * bytes).ok();
    EncodeJob(*job, job->outcome->progress, fits ? JobView::kFull : JobView::kBrief, response_);
  }
  FinishWith(absl::OkStatus());
}

void RunJobCall::OnCancel() {
  std::shared_ptr<LiveJob> job;
  bool owned = false;
  {
    MutexLock lock(mu_);
    if (!ClaimFinish()) return;
    job = std::move(job_);
    owned = owns_job_;
  }
  FinishWith(CallCancelledError());
  if (job != nullptr) Abandon(job, owned);
}

void RunJobCall::OnJobLeft() { FinishOnce(ShuttingDownError()); }

}  // namespace jobpool
