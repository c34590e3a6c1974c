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

void LiveJob::TellOutput(JobEvents& events, const RunControl& control, JobOutput output) const {
  MutexLock lock(mu_);
  if (record_.state != JobState::kRunning || Ending() || control_.get() != &control) return;
  events.Record(JobEventType::kOutput, std::make_shared<const JobRecord>(record_), nullptr, std::nullopt,
                std::move(output));
}

bool LiveJob::Start(Attempt attempt, std::shared_ptr<RunControl> control, JobEvents* events) {
  MutexLock lock(mu_);
  RecordedChange change(events, record_);
  if (Ending() || !record_.Start(std::move(attempt))) return false;
  control->counted_attempts = record_.CountedAttempts();
  control->number = record_.attempts.back().number;
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
  return Ending() && !left_ ? control_->ending : record_.state;
}

uint8_t LiveJob::priority() const {
  MutexLock lock(mu_);
  return record_.priority;
}

absl::Time LiveJob::ReadyTime() const {
  MutexLock lock(mu_);
  return record_.ReadyTime();
}

std::shared_ptr<const JobOptions> LiveJob::Options() const {
  static const auto* const defaults = new std::shared_ptr<const JobOptions>(std::make_shared<JobOptions>());
  MutexLock lock(mu_);
  return record_.options != nullptr ? record_.options : *defaults;
}

bool LiveJob::MakeReady(absl::Time now, JobEvents* events) {
  MutexLock lock(mu_);
  RecordedChange change(events, record_);
  if (Ending() || record_.ReadyTime() > now || !record_.MakeReady()) return false;
  change.Tell(record_, std::nullopt);
  return true;
}

bool LiveJob::Retry(const RunControl& control, absl::Time end_time, ResourceUsage usage,
                    const absl::Status& error, double random, JobEvents* events, JobRecord* retried) {
  MutexLock lock(mu_);
  RecordedChange change(events, record_);
  const int32_t attempts = record_.CountedAttempts();
  const RetryPolicy& policy = record_.Options().retry;
  if (attempts >= policy.max_attempts) return false;
  const absl::Time ready_time = end_time + policy.Backoff(attempts, random);
  const CancelReason reason = control.cancel.reason();
  if (reason != CancelReason::kNone && reason != CancelReason::kTimeout) return false;
  if (ready_time >= record_.Options().deadline_time) return false;
  if (!record_.Retry(end_time, usage, error, ready_time)) return false;
  control_.reset();
  change.Tell(record_, std::nullopt);
  if (retried != nullptr) *retried = record_;
  return true;
}

bool LiveJob::Interrupt(const RunControl& control, absl::Time end_time, ResourceUsage usage,
                        const absl::Status& error, JobEvents* events) {
  MutexLock lock(mu_);
  RecordedChange change(events, record_);
  if (Ending() || control_.get() != &control) return false;
  if (control.cancel.reason() != CancelReason::kInterrupted) return false;  // by now it shall not run again
  if (!record_.Interrupt(end_time, usage, error)) return false;
  control_.reset();
  change.Tell(record_, std::nullopt);
  return true;
}

bool LiveJob::Leave(Waiters* waiters) {
  MutexLock lock(mu_);
  if (Ending() || IsEnded(record_.state) || record_.state == JobState::kRunning) return false;
  if (keeping_ == Keeping::kRefused) return false;
  left_ = true;
  if (waiters_ != nullptr) *waiters = std::move(*std::exchange(waiters_, nullptr));
  return true;
}

Asked LiveJob::AskToEnd(CancelReason reason, absl::Time now, const RunControl* attempt, StoreWriter* writer) {
  MutexLock lock(mu_);
  if (Ending()) return {left_ ? JobState::kCancelled : control_->ending, nullptr};
  if (record_.state != JobState::kRunning) return {record_.state, nullptr};
  if (attempt != nullptr && attempt != control_.get()) return {record_.state, nullptr};
  const bool first = !control_->cancel.cancelled();
  control_->cancel.Cancel(reason);
  std::vector<StopStep>& steps = record_.attempts.back().stop_steps;
  if (first) steps.push_back({StopStep::Action::kAsked, now});
  const CancelReason effective = control_->cancel.reason();
  const bool for_good = effective == CancelReason::kRequested || effective == CancelReason::kCallerGone;
  const bool for_good_now = for_good && !std::exchange(steps.front().for_good, true);
  if (first) ++record_.revision;  // the rest is not shown
  if (for_good_now && writer != nullptr && record_.durability == Durability::kDisk) {
    writer->Change(std::make_shared<const JobRecord>(record_));
  }
  return {record_.state, first ? control_ : nullptr, first ? nullptr : control_};
}

bool LiveJob::MarkStep(const RunControl& attempt, StopStep::Action action, absl::Time now) {
  MutexLock lock(mu_);
  if (control_.get() != &attempt || Ending() || record_.state != JobState::kRunning) return false;
  record_.attempts.back().stop_steps.push_back({action, now});
  ++record_.revision;
  return true;
}

void LiveJob::ShowProgram(const RunControl& attempt, pid_t process_id) {
  MutexLock lock(mu_);
  if (control_.get() != &attempt || Ending() || record_.state != JobState::kRunning) return;
  record_.attempts.back().process_id = process_id;
  ++record_.revision;
}

LiveJob::Await LiveJob::AddWaiter(std::shared_ptr<Waiter> waiter) {
  MutexLock lock(mu_);
  if (IsEnded(record_.state)) return Await::kEnded;
  if (left_) return Await::kLeft;
  if (waiters_ == nullptr) waiters_ = std::make_unique<Waiters>();
  const Waiter* const key = waiter.get();
  waiters_->emplace(key, std::move(waiter));
  return Await::kAdded;
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
