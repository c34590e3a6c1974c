#include "server/service/wait_jobs_call.h"

#include <algorithm>
#include <utility>

#include <grpc/support/time.h>

#include "absl/strings/str_cat.h"
#include "server/job/errors.h"
#include "server/service/job_codec.h"
#include "server/service/time_codec.h"

namespace jobpool {
namespace {

// The wait ends so long before the call's deadline that the answer still gets
// there: a tenth of what is left, at most 100 ms, and 1% of it, by which gRPC
// may round up the deadline that it tells us (its timeout encoding).
std::optional<MonotonicTime> CallDeadline(const grpc::CallbackServerContext& context, MonotonicTime now) {
  // Not context.deadline(), in which what is too far away overflows.
  const gpr_timespec deadline = context.raw_deadline();
  const gpr_timespec rest = gpr_time_sub(deadline, gpr_now(deadline.clock_type));
  const absl::Duration left = absl::Seconds(rest.tv_sec) + absl::Nanoseconds(rest.tv_nsec);
  if (left > kMaxTimeout) return std::nullopt;
  const absl::Duration margin = std::clamp(left / 10, absl::ZeroDuration(), absl::Milliseconds(100));
  return Later(now, left - margin - std::max(left, absl::ZeroDuration()) / 100);
}

WaitArguments Decode(const grpc::CallbackServerContext& context, const v1::WaitJobsRequest& request,
                     MonotonicTime now, Violations& violations) {
  WaitArguments arguments;
  arguments.deadline = CallDeadline(context, now);
  if (request.names().empty() || request.names_size() > kMaxWaitNames) {
    violations.Add("names",
                   absl::StrCat("must be 1 to ", kMaxWaitNames, " names, are ", request.names_size()));
  } else {
    for (int i = 0; i < request.names_size(); ++i) {
      arguments.ids.push_back(DecodeJobName(request.names(i), absl::StrCat("names[", i, "]"), violations));
    }
  }
  if (request.mode() < 0 || request.mode() > v1::WaitJobsRequest::ANY) {
    violations.Add("mode", "must be ALL or ANY");
  }
  if (request.mode() == v1::WaitJobsRequest::ANY) arguments.mode = Join::Mode::kAny;
  if (request.has_timeout()) {
    const absl::Duration timeout =
        DecodeDuration(request.timeout(), "timeout", violations).value_or(absl::ZeroDuration());
    CheckRange(timeout, kMaxTimeout, "timeout", violations);
    arguments.deadline = std::min(arguments.deadline.value_or(MonotonicTime::max()), Later(now, timeout));
  }
  return arguments;
}

}  // namespace

grpc::ServerUnaryReactor* WaitJobsCall::Start(Notifier& notifier, const CallResources& resources,
                                              const CallCount& count, grpc::CallbackServerContext& context,
                                              const v1::WaitJobsRequest& request,
                                              v1::WaitJobsResponse* response) {
  const std::shared_ptr<WaitJobsCall> call(new WaitJobsCall(notifier, resources, count, response));
  Violations violations;
  WaitArguments arguments = Decode(context, request, notifier.Now(), violations);
  context.GetRpcAllocatorState()->FreeRequest();
  absl::Status status = violations.ToStatus();
  call->Share();
  if (status.ok()) {
    const size_t ids_bytes = arguments.ids.size() * (sizeof(std::string) + kMaxIdBytes);
    status = call->HoldOpen(static_cast<int64_t>(ids_bytes));
  }
  if (!status.ok()) {
    call->FinishOnce(status);
  } else if (!resources.pool.Run([call, arguments = std::move(arguments)] { call->Wait(arguments); })) {
    call->FinishOnce(TooManyCallsError("calls wait for a thread", resources.pool.max_tasks()));
  }
  return call.get();
}

void WaitJobsCall::Wait(const WaitArguments& arguments) {
  // The join may end before it is known here: whichever of the two comes second
  // answers.
  absl::StatusOr<std::shared_ptr<Join>> join = notifier_.Wait(
      arguments.ids, arguments.mode, arguments.deadline, [self = shared_from_this()](Join::Result result) {
        {
          MutexLock lock(self->mu_);
          self->result_ = result;
          if (self->join_ == nullptr) return;
        }
        const auto answer = [self, result] { self->Answer(result); };
        if (!self->pool_.Run(answer)) answer();
      });
  if (!join.ok()) {
    FinishOnce(join.status());
    return;
  }
  std::optional<Join::Result> result;
  bool gone = false;
  {
    MutexLock lock(mu_);
    gone = finished_;
    if (!gone) join_ = *join;
    result = result_;
  }
  if (gone) {
    (*join)->Abandon();
  } else if (result.has_value()) {
    Answer(*result);
  }
}

void WaitJobsCall::Answer(Join::Result result) {
  absl::Status status;
  std::shared_ptr<Join> join;  // let go of after the lock
  {
    MutexLock lock(mu_);
    if (!ClaimFinish()) return;
    join = std::move(join_);
    if (result == Join::Result::kLeft) {
      status = ShuttingDownError();
    } else {
      EncodeJobs(join->jobs(), response_->mutable_jobs());
      response_->set_timed_out(result == Join::Result::kTimedOut);
      status = held_.TakeMessage(response_->ByteSizeLong());
    }
    if (!status.ok()) response_->Clear();
  }
  FinishWith(status);
}

void WaitJobsCall::OnCancel() {
  std::shared_ptr<Join> join;
  {
    MutexLock lock(mu_);
    if (!ClaimFinish()) return;
    join = std::move(join_);
  }
  FinishWith(CallCancelledError());
  if (join != nullptr) join->Abandon();
}

}  // namespace jobpool
