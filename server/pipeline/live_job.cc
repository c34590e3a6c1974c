#include "server/pipeline/live_job.h"

#include <utility>

namespace jobpool {

JobSnapshot LiveJob::Snapshot() const {
  MutexLock lock(mu_);
  return SnapshotLocked();
}

JobSnapshot LiveJob::SnapshotLocked() const {
  JobSnapshot snapshot{record_, std::nullopt};
  if (control_ != nullptr) {
    snapshot.progress = control_->progress.Get();
  } else if (record_.outcome != nullptr) {
    snapshot.progress = record_.outcome->progress;
  }
  return snapshot;
}

std::string LiveJob::DisplayName() const {
  MutexLock lock(mu_);
  return record_.DisplayName();
}

bool LiveJob::Start(Attempt attempt, std::shared_ptr<RunControl> control) {
  MutexLock lock(mu_);
  if (!record_.Start(std::move(attempt))) return false;
  control_ = std::move(control);
  return true;
}

bool LiveJob::End(JobState from, JobState end, ResourceUsage usage, Outcome how, Waiters* waiters) {
  MutexLock lock(mu_);
  if (record_.state != from) return false;
  if (control_ != nullptr) how.progress = control_->progress.Get();
  if (!record_.End(end, usage, std::move(how))) return false;
  control_.reset();
  waiters->swap(waiters_);
  return true;
}

JobState LiveJob::AskToEnd(CancelReason reason) {
  MutexLock lock(mu_);
  if (control_ != nullptr) control_->cancel.Cancel(reason);
  return record_.state;
}

bool LiveJob::AddWaiter(std::shared_ptr<Waiter> waiter) {
  MutexLock lock(mu_);
  if (IsEnded(record_.state)) return false;
  waiters_.push_front(std::move(waiter));
  return true;
}

void LiveJob::RemoveWaiter(const Waiter* waiter) {
  Waiters removed;  // let go of after the lock
  MutexLock lock(mu_);
  for (auto before = waiters_.before_begin(); std::next(before) != waiters_.end();) {
    if (std::next(before)->get() == waiter) {
      removed.splice_after(removed.before_begin(), waiters_, before);
    } else {
      ++before;
    }
  }
}

}  // namespace jobpool
