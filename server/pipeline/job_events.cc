#include "server/pipeline/job_events.h"

#include <algorithm>
#include <utility>

#include "absl/container/inlined_vector.h"

namespace jobpool {
namespace {

// Payloads of live jobs are the job table's to count, those of ended ones the log's: the store may have let
// go of them.
size_t RecordBytes(const JobRecord* record) {
  if (record == nullptr) return 0;
  return record->Bytes() - (IsEnded(record->state) ? 0 : HeapBytes(record->work));
}

}  // namespace

size_t JobEvent::Bytes() const {
  return sizeof(JobEvent) + RecordBytes(job.get()) + RecordBytes(before.get()) +
         (progress.has_value() ? progress->message.size() : 0) +
         (output.has_value() ? output->bytes.size() : 0);
}

void JobEvents::Record(JobEventType type, std::shared_ptr<const JobRecord> job,
                       std::shared_ptr<const JobRecord> before, std::optional<Progress::Value> progress,
                       std::optional<JobOutput> output) {
  if (!active()) return;
  auto event = std::make_shared<JobEvent>();
  event->type = type;
  event->job = std::move(job);
  event->before = std::move(before);
  event->progress = std::move(progress);
  event->output = std::move(output);
  const size_t bytes = event->Bytes();
  const auto limit = static_cast<size_t>(max_events());
  const size_t max_bytes = limit * static_cast<size_t>(kBytesPerEvent);
  absl::InlinedVector<SharedJobEvent, 4> dropped;  // let go of after the lock
  bool awaited = false;
  {
    MutexLock lock(mu_);
    if (!active()) return;
    event->sequence = first_ + events_.size();
    events_.push_back(std::move(event));
    bytes_ += bytes;
    while (events_.size() > 1 && (events_.size() > limit || bytes_ > max_bytes)) {
      bytes_ -= events_.front()->Bytes();
      dropped.push_back(std::move(events_.front()));
      events_.pop_front();
      ++first_;
    }
    awaited = std::exchange(awaited_, false);
  }
  if (awaited) added_.NotifyAll();
}

void JobEvents::Watch(bool with_output) {
  MutexLock lock(mu_);
  ++watchers_;
  if (with_output) {
    ++output_watchers_;
    wants_output_.store(true, std::memory_order_relaxed);
  }
  active_.store(true, std::memory_order_relaxed);
}

void JobEvents::Unwatch(bool with_output) {
  const MonotonicTime now = clock_.Monotonic();
  MutexLock lock(mu_);
  --watchers_;
  if (with_output) {
    --output_watchers_;
    output_unwatched_since_ = now;
  }
  unwatched_since_ = now;
}

void JobEvents::ForgetUnwatched() {
  if (!active()) return;
  const MonotonicTime now = clock_.Monotonic();
  std::deque<SharedJobEvent> dropped;  // let go of after the lock
  MutexLock lock(mu_);
  if (output_watchers_ == 0 && now >= Later(output_unwatched_since_, kKeptUnwatched)) {
    wants_output_.store(false, std::memory_order_relaxed);
  }
  if (watchers_ > 0 || now < Later(unwatched_since_, kKeptUnwatched)) return;
  active_.store(false, std::memory_order_relaxed);
  // One is left out, so that nobody takes what comes later for all that came after the last one.
  first_ = LastLocked() + 2;
  dropped.swap(events_);
  bytes_ = 0;
}

uint64_t JobEvents::last() const {
  MutexLock lock(mu_);
  return LastLocked();
}

bool JobEvents::IsKnownAfter(uint64_t sequence) const {
  MutexLock lock(mu_);
  return active() && sequence + 1 >= first_ && sequence <= LastLocked();
}

SharedJobEvent JobEvents::Find(uint64_t sequence) const {
  MutexLock lock(mu_);
  return sequence >= first_ && sequence - first_ < events_.size() ? events_[sequence - first_] : nullptr;
}

std::vector<SharedJobEvent> JobEvents::After(uint64_t sequence, size_t limit) const {
  std::vector<SharedJobEvent> found;
  MutexLock lock(mu_);
  const size_t begin = sequence + 1 > first_ ? sequence + 1 - first_ : 0;
  for (size_t i = begin; i < events_.size() && found.size() < limit; ++i) found.push_back(events_[i]);
  return found;
}

bool JobEvents::AwaitAfter(uint64_t sequence) {
  MutexLock lock(mu_);
  while (!stopped_ && LastLocked() <= sequence) {
    awaited_ = true;
    added_.Wait(mu_);
  }
  return !stopped_;
}

void JobEvents::Stop() {
  MutexLock lock(mu_);
  stopped_ = true;
  added_.NotifyAll();
}

}  // namespace jobpool
