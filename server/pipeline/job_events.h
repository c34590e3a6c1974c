#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "server/base/clock.h"
#include "server/base/mutex.h"
#include "server/pipeline/job_event.h"
#include "server/pipeline/store_writer.h"

namespace jobpool {

/// The log of what happens to jobs: the last changes, in their order. Kept while
/// somebody watches and for 5 minutes after that, so that who does not costs nothing.
/// Thread-safe; its lock is a leaf.
class JobEvents {
 public:
  /// How long it is kept when nobody watches any more.
  static constexpr absl::Duration kKeptUnwatched = absl::Minutes(5);
  /// The log holds so many bytes at most for each event that it may have.
  static constexpr int64_t kBytesPerEvent = 640;

  /// `max_events`: how many are kept. `writer`, which outlives it: of the store that keeps
  /// the jobs whose durability is DISK; null: there are none.
  JobEvents(const Clock& clock, int64_t max_events, StoreWriter* writer = nullptr)
      : clock_(clock), writer_(writer), max_events_(max_events) {}
  JobEvents(const JobEvents&) = delete;
  JobEvents& operator=(const JobEvents&) = delete;

  // For those who change jobs.

  /// Whether events are kept now. Under a job's lock it cannot be missed that somebody
  /// watches who has looked at the job before.
  bool active() const { return active_.load(std::memory_order_relaxed); }
  /// Whether what programs write is kept too: while a watch asks for it, and as long after that as the rest
  /// where nobody watches.
  bool wants_output() const { return wants_output_.load(std::memory_order_relaxed); }

  /// Adds an event, if they are kept; in the order of the job's changes if it is called
  /// under the job's lock. `before`: the record before the change, where another state,
  /// time, name, label or priority came with it. Constant time, calls nobody.
  void Record(JobEventType type, std::shared_ptr<const JobRecord> job,
              std::shared_ptr<const JobRecord> before = nullptr,
              std::optional<Progress::Value> progress = std::nullopt,
              std::optional<JobOutput> output = std::nullopt);

  StoreWriter* writer() const { return writer_; }

  void set_max_events(int64_t max_events) { max_events_.store(max_events, std::memory_order_relaxed); }

  int64_t max_events() const { return max_events_.load(std::memory_order_relaxed); }

  // For those who watch.

  /// One more watches, until Unwatch: from its return on every change of a job is
  /// recorded that comes after a look at it.
  void Watch(bool with_output = false);
  void Unwatch(bool with_output = false);

  /// To be called from time to time: lets go of a log that nobody needs any more.
  void ForgetUnwatched();

  /// The sequence of the newest event; 0 before the first.
  uint64_t last() const;

  /// Whether all that has come after the event `sequence` is there.
  bool IsKnownAfter(uint64_t sequence) const;

  /// Null: is not there, or not there any more.
  SharedJobEvent Find(uint64_t sequence) const;

  /// At most `limit` events, from the one after `sequence` or the oldest that there is.
  std::vector<SharedJobEvent> After(uint64_t sequence, size_t limit) const;

  /// Waits until there is one after `sequence`. Returns false after Stop.
  bool AwaitAfter(uint64_t sequence);

  /// Ends AwaitAfter.
  void Stop();

 private:
  uint64_t LastLocked() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return first_ + events_.size() - 1; }

  const Clock& clock_;
  StoreWriter* const writer_;
  std::atomic<int64_t> max_events_;
  std::atomic<bool> active_{false};        // written under mu_
  std::atomic<bool> wants_output_{false};  // likewise

  mutable Mutex mu_;
  CondVar added_;
  uint64_t first_ ABSL_GUARDED_BY(mu_) = 1;  // the sequence of the oldest event, or of the next one
  std::deque<SharedJobEvent> events_ ABSL_GUARDED_BY(mu_);
  size_t bytes_ ABSL_GUARDED_BY(mu_) = 0;  // of events_
  int64_t watchers_ ABSL_GUARDED_BY(mu_) = 0;
  int64_t output_watchers_ ABSL_GUARDED_BY(mu_) = 0;  // of them
  MonotonicTime unwatched_since_ ABSL_GUARDED_BY(mu_){};
  MonotonicTime output_unwatched_since_ ABSL_GUARDED_BY(mu_){};
  bool awaited_ ABSL_GUARDED_BY(mu_) = false;  // somebody waits for the next one
  bool stopped_ ABSL_GUARDED_BY(mu_) = false;
};

/// One change of a record, told to `events`, which may be null, and to the store that
/// keeps the job, when it is done. Belongs to a scope that holds the lock of the record's
/// job.
class RecordedChange {
 public:
  /// To be made before the change.
  RecordedChange(JobEvents* events, const JobRecord& record) {
    if (events == nullptr) return;
    if (record.durability == Durability::kDisk) writer_ = events->writer();
    if (!events->active()) return;
    events_ = events;
    before_ = std::make_shared<const JobRecord>(record);
  }

  /// Tells of `record` as it is now.
  void Tell(const JobRecord& record, std::optional<Progress::Value> progress) {
    if (events_ == nullptr && writer_ == nullptr) return;
    auto changed = std::make_shared<const JobRecord>(record);
    if (writer_ != nullptr) writer_->Change(changed);
    Tell(JobEventType::kChanged, std::move(changed), std::move(progress));
  }

  /// Tells of `record`, which is shared.
  void Tell(JobEventType type, std::shared_ptr<const JobRecord> record,
            std::optional<Progress::Value> progress) {
    if (events_ == nullptr) return;
    events_->Record(type, std::move(record), std::move(before_), std::move(progress));
  }

 private:
  JobEvents* events_ = nullptr;
  StoreWriter* writer_ = nullptr;
  std::shared_ptr<const JobRecord> before_;
};

}  // namespace jobpool
