#include "server/service/run_job_call.h"

#include <utility>

#include "server/job/errors.h"
#include "server/service/job_codec.h"
#include "server/service/status_codec.h"

namespace jobpool {

grpc::ServerUnaryReactor* RunJobCall::Start(Pipeline& pipeline, CallMemory& memory, const CallCount& count,
                                            JobSpec spec, bool detach, v1::Job* response) {
  const std::shared_ptr<RunJobCall> call(new RunJobCall(pipeline, memory, count, detach, response));
  absl::Status taken;
  {
    MutexLock lock(call->mu_);
    call->grpc_reference_ = call;
    taken = call->held_.Take(CallMemory::kOpenCallBytes);
  }
  if (taken.ok()) {
    call->Submit(std::move(spec));
  } else {
    call->FinishOnce(taken);
  }
  return call.get();
}

void RunJobCall::Submit(JobSpec spec) {
  absl::StatusOr<Submission> submission = pipeline_.admission().Submit(std::move(spec), shared_from_this());
  if (!submission.ok()) {
    FinishOnce(submission.status());
    return;
  }
  // gRPC calls OnCancel only once Start has returned.
  MutexLock lock(mu_);
  if (finished_) return;
  job_ = std::move(submission->job.live);
  if (submission->duplicate) owns_job_ = false;
}

void RunJobCall::OnJobEnd(const EndedJob& job) { FinishOnce(absl::OkStatus(), job); }

void RunJobCall::OnCancel() {
  std::shared_ptr<LiveJob> job;
  bool owned = false;
  {
    MutexLock lock(mu_);
    job = job_;
    owned = owns_job_;
  }
  FinishOnce(CallCancelledError());
  if (job == nullptr) return;
  job->RemoveWaiter(this);
  if (owned) pipeline_.control().Cancel(job, CancelReason::kCallerGone);
}

void RunJobCall::OnDone() {
  std::shared_ptr<RunJobCall> self;  // let go of after the lock
  MutexLock lock(mu_);
  self = std::move(grpc_reference_);
}

void RunJobCall::FinishOnce(const absl::Status& status, const EndedJob& job) {
  {
    MutexLock lock(mu_);
    if (finished_) return;
    finished_ = true;
    job_.reset();
    if (job != nullptr) {
      EncodeJob({*job, job->outcome->progress}, JobView::kFull, response_);
      // The estimate is at hand, and enough for what is small.
      if (job->Bytes() > CallMemory::kSmallMessageBytes &&
          !held_.TakeMessage(response_->ByteSizeLong()).ok()) {
        MakeBrief(response_);
      }
    }
  }
  count_.Done(status);
  Finish(ToGrpcStatus(status));
}

}  // namespace jobpool
