#include "server/pipeline/job_timers.h"

namespace jobpool {

// A timer keeps its job alive, so that no other can have its address meanwhile.
void JobTimers::Arm(const std::shared_ptr<LiveJob>& job) {
  MutexLock lock(mu_);
  Drop(*job);
  // Under the lock, so that of two calls the later one has the last word. Who ends the job disarms it after
  // that: either is seen here, or comes after.
  const JobRecord record = job->Snapshot().record;
  if (job->IsOver()) return;
  Armed armed;
  if (record.state == JobState::kScheduled) {
    armed.ready = timer_.AtTime(record.ReadyTime(), [this, job] { on_ready_(job); });
  }
  if (record.Options().deadline_time != absl::InfiniteFuture()) {
    armed.deadline = timer_.AtTime(record.Options().deadline_time, [this, job] { on_deadline_(job); });
  }
  if (armed.ready.has_value() || armed.deadline.has_value()) armed_.emplace(job.get(), armed);
}

void JobTimers::Disarm(const LiveJob& job) {
  MutexLock lock(mu_);
  Drop(job);
}

void JobTimers::Drop(const LiveJob& job) {
  const auto found = armed_.find(&job);
  if (found == armed_.end()) return;
  if (found->second.ready.has_value()) timer_.Cancel(*found->second.ready);
  if (found->second.deadline.has_value()) timer_.Cancel(*found->second.deadline);
  armed_.erase(found);
}

}  // namespace jobpool
