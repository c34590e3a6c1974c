#include "server/pipeline/completion.h"

#include <algorithm>
#include <utility>

#include <spdlog/spdlog.h>

#include "server/job/errors.h"
#include "server/telemetry/log.h"

namespace jobpool {

bool Completion::End(const std::shared_ptr<LiveJob>& job, JobState from, JobState end, ResourceUsage usage,
                     Outcome how) {
  const EndedJob ended = job->BeginEnd(from, end, usage, std::move(how));
  if (ended == nullptr) return false;
  if (ended->durability != Durability::kDisk) {
    KeepInMemory(ended);
    Announce(job, from, ended);
    return true;
  }
  events_.writer()->End(ended, [this, job, from, ended](const absl::Status& kept) {
    if (kept.ok()) {
      Announce(job, from, ended);
      return;
    }
    if (job->keeping() ==
        LiveJob::Keeping::kKept) {  // the store has something against its end, as it has logged
      KeepInMemory(ended);
      Announce(job, from, ended);
      return;
    }
    // It was never accepted, whatever it has come to.
    Outcome outcome = *ended->outcome;
    outcome.result.reset();
    outcome.error = JobCancelledError(CancelReason::kNotKept);
    auto refused = std::make_shared<JobRecord>(*ended);
    refused->state = JobState::kCancelled;
    refused->outcome = std::make_shared<const Outcome>(std::move(outcome));
    Announce(job, from, refused);
    events_.Record(JobEventType::kDeleted, refused, nullptr, refused->outcome->progress);
  });
  return true;
}

void Completion::KeepInMemory(const EndedJob& ended) {
  if (const absl::Status stored = store_.Put(ended); !stored.ok()) {
    Log().error("job not stored job=jobs/{} error=\"{}\"", ended->id, std::string(stored.message()));
  }
}

// Shown once it is stored, and as the job leaves the table: who sees the end finds it in the store, and who
// finds the job in the table has not seen its end.
void Completion::Announce(const std::shared_ptr<LiveJob>& job, JobState from, const EndedJob& ended) {
  Count(*ended, from);
  log_.Ended(*ended);
  const JobOptions& options = ended->Options();
  if (options.deadline_time != absl::InfiniteFuture() || options.ready_time != absl::InfinitePast()) {
    timers_.Disarm(*job);
  }
  Waiters waiters;
  table_.Erase(
      *job, [&] { waiters = job->FinishEnd(ended, &events_); },
      [&] {
        for (const auto& [key, waiter] : waiters) waiter->OnJobEnd(ended);
      });
}

bool Completion::Leave(const std::shared_ptr<LiveJob>& job) {
  Waiters waiters;
  if (job->durability() != Durability::kDisk || !job->Leave(&waiters)) return false;
  timers_.Disarm(*job);
  table_.Leave([&] {
    for (const auto& [key, waiter] : waiters) waiter->OnJobLeft();
  });
  return true;
}

void Completion::Interrupted(const JobRecord& job) {
  CountAttempt(static_cast<size_t>(KindOf(job.work)), job.attempts.back());
  metrics_.Interrupted();
}

void Completion::Retried(const JobRecord& job) {
  const auto kind = static_cast<size_t>(KindOf(job.work));
  CountAttempt(kind, job.attempts.back());
  metrics_.Retried(kind);
  log_.Retried(job);
}

void Completion::CountAttempt(size_t kind, const Attempt& attempt) {
  metrics_.Ran(kind, attempt.end_time - attempt.start_time, attempt.usage);
}

void Completion::Count(const JobRecord& job, JobState from) {
  const auto kind = static_cast<size_t>(KindOf(job.work));
  const auto pool = static_cast<size_t>(std::find(pools_.begin(), pools_.end(), *job.pool) - pools_.begin());
  const auto end_state = static_cast<size_t>(job.state) - static_cast<size_t>(JobState::kSucceeded);
  if (from == JobState::kRunning) CountAttempt(kind, job.attempts.back());
  if (job.state == JobState::kCancelled && ReasonOf(job.outcome->error) == "INTERRUPTED") {
    metrics_.Interrupted();
  }
  metrics_.Finished(kind, pool, end_state, job.outcome->end_time);
}

}  // namespace jobpool
