#include "server/pipeline/control.h"

#include <utility>

#include "server/base/status_macros.h"
#include "server/job/errors.h"
#include "server/job/resource_name.h"

namespace jobpool {
namespace {

absl::Status EndedError(const JobRecord& job) {
  return JobEndedError(JobName(job.id), JobStateName(job.state));
}

}  // namespace

absl::StatusOr<JobSnapshot> Control::Cancel(const std::string& id) {
  JOBPOOL_ASSIGN_OR_RETURN(const JobHandle job, reader_.Find(id));
  if (job.live == nullptr) return EndedError(*job.ended);
  if (const JobState state = job.live->Snapshot().record.state; IsEnded(state)) {
    return JobEndedError(JobName(id), JobStateName(state));
  }
  Cancel(job.live, CancelReason::kRequested);
  return job.live->Snapshot();
}

void Control::Cancel(const std::shared_ptr<LiveJob>& job, CancelReason reason) {
  if (job->AskToEnd(reason) != JobState::kQueued) return;
  Outcome outcome;
  outcome.end_time = clock_.Now();
  outcome.error = JobCancelledError(reason);
  if (completion_.End(job, JobState::kQueued, JobState::kCancelled, {}, std::move(outcome))) {
    pools_.Find(job->pool())->Remove(*job);
  } else {
    job->AskToEnd(reason);  // a worker has taken it meanwhile
  }
}

absl::StatusOr<JobSnapshot> Control::Update(const std::string& id, const JobUpdate& update) {
  JOBPOOL_ASSIGN_OR_RETURN(const JobHandle job, reader_.Find(id));
  if (job.live == nullptr) return EndedError(*job.ended);
  JobOptions given;
  if (update.display_name.has_value()) given.display_name = *update.display_name;
  if (update.labels.has_value()) given.labels = *update.labels;
  const auto most = static_cast<int64_t>(given.Bytes());  // that it can grow by
  JOBPOOL_RETURN_IF_ERROR(table_.AddBytes(most));
  int64_t grown = 0;
  std::optional<JobSnapshot> updated;
  table_.Change(*job.live, [&] {
    updated = job.live->UpdateOptions([&](JobOptions& options, bool is_first) {
      grown -= is_first ? 0 : static_cast<int64_t>(options.Bytes());
      if (update.display_name.has_value()) options.display_name = given.display_name;
      if (update.labels.has_value()) options.labels = given.labels;
      grown += static_cast<int64_t>(options.Bytes());
    });
    return updated.has_value();
  });
  table_.AddBytes(grown - most).IgnoreError();  // it is less
  if (!updated.has_value()) return JobEndedError(JobName(id), JobStateName(job.live->EndState()));
  if (update.display_name.has_value() && updated->record.state == JobState::kRunning) {
    registry_.RenameJob(updated->record.attempts.back().thread_id, id,
                        [&] { return job.live->DisplayName(); });
  }
  return *std::move(updated);
}

absl::Status Control::Delete(const std::string& id) {
  for (;;) {
    JOBPOOL_ASSIGN_OR_RETURN(const JobHandle job, reader_.Find(id));
    if (job.live == nullptr) break;
    // One that has ended since it was found has left the table with that: look again.
    const JobState state = job.live->Snapshot().record.state;
    if (!IsEnded(state)) return JobNotEndedError(JobName(id), JobStateName(state));
  }
  JOBPOOL_ASSIGN_OR_RETURN(const bool deleted, store_.Delete(id));
  return deleted ? absl::OkStatus() : JobNotFoundError(JobName(id));
}

size_t Control::CancelWhere(const std::function<bool(const LiveJob&)>& chosen, CancelReason reason) {
  size_t count = 0;
  for (const std::shared_ptr<LiveJob>& job : table_.All()) {
    if (!chosen(*job)) continue;
    Cancel(job, reason);
    ++count;
  }
  return count;
}

}  // namespace jobpool
