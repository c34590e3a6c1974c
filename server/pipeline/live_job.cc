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

int64_t LiveJob::GivenBytes() const {
  const auto payload = static_cast<int64_t>(HeapBytes(work()));
  MutexLock lock(mu_);
  return payload + (record_.options != nullptr ? static_cast<int64_t>(record_.options->Bytes()) : 0);
}

std::string LiveJob::DisplayName() const {
  MutexLock lock(mu_);
  return record_.DisplayName();
}

void LiveJob::TellCreated(JobEvents& events) const {
  if (!events.active()) return;
  MutexLock lock(mu_);
  events.Record(JobEventType::kCreated, std::make_shared<const JobRecord>(record_));
}

JobSnapshot LiveJob::TellProgress(JobEvents& events) const {
  MutexLock lock(mu_);
  JobSnapshot snapshot = SnapshotLocked();
  if (record_.state != JobState::kRunning || Ending() || !snapshot.progress.has_value()) return snapshot;
  if (snapshot.progress->version > control_->told_progress) {
    control_->told_progress = snapshot.progress->version;
    events.Record(JobEventType::kProgress, std::make_shared<const JobRecord>(record_), nullptr,
                  snapshot.progress);
  }
  return snapshot;
}

bool LiveJob::Start(Attempt attempt, std::shared_ptr<RunControl> control, JobEvents* events) {
  MutexLock lock(mu_);
  RecordedChange change(events, record_);
  if (Ending() || !record_.Start(std::move(attempt))) return false;
  control_ = std::move(control);
  change.Tell(record_, std::nullopt);
  return true;
}

EndedJob LiveJob::BeginEnd(JobState from, JobState end, ResourceUsage usage, Outcome how) {
  MutexLock lock(mu_);
  if (record_.state != from || Ending()) return nullptr;
  if (control_ == nullptr) control_ = std::make_shared<RunControl>();
  how.progress = control_->progress.Get();
  auto ended = std::make_shared<JobRecord>(record_);
  if (!ended->End(end, usage, std::move(how))) return nullptr;
  control_->ending = end;
  return ended;
}

Waiters LiveJob::FinishEnd(const EndedJob& ended, JobEvents* events) {
  MutexLock lock(mu_);
  RecordedChange change(events, record_);
  record_.attempts = ended->attempts;
  record_.outcome = ended->outcome;
  record_.state = ended->state;
  record_.revision = ended->revision;
  control_.reset();
  change.Tell(JobEventType::kEnded, ended, ended->outcome->progress);
  return waiters_ != nullptr ? std::move(*std::exchange(waiters_, nullptr)) : Waiters();
}

JobState LiveJob::EndState() const {
  MutexLock lock(mu_);
  return Ending() ? control_->ending : record_.state;
}

JobState LiveJob::AskToEnd(CancelReason reason) {
  MutexLock lock(mu_);
  if (control_ != nullptr) control_->cancel.Cancel(reason);
  return record_.state;
}

bool LiveJob::AddWaiter(std::shared_ptr<Waiter> waiter) {
  MutexLock lock(mu_);
  if (IsEnded(record_.state)) return false;
  if (waiters_ == nullptr) waiters_ = std::make_unique<Waiters>();
  const Waiter* const key = waiter.get();
  waiters_->emplace(key, std::move(waiter));
  return true;
}

void LiveJob::RemoveWaiter(const Waiter* waiter) {
  std::shared_ptr<Waiter> removed;  // let go of after the lock
  MutexLock lock(mu_);
  if (waiters_ == nullptr) return;
  const auto found = waiters_->find(waiter);
  if (found == waiters_->end()) return;
  removed = std::move(found->second);
  waiters_->erase(found);
}

}  // namespace jobpool
