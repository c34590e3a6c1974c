#pragma once

#include <forward_list>
#include <memory>
#include <optional>
#include <string>

#include "server/base/cancel_token.h"
#include "server/base/mutex.h"
#include "server/base/progress.h"
#include "server/job/job_record.h"
#include "server/store/job_store.h"

namespace jobpool {

/// Is told when a job has ended, once for each time that it was added to one.
class Waiter {
 public:
  virtual ~Waiter() = default;

  /// `job`'s record is final. Called on the thread that ended the job, without
  /// locks held: be short, do not block.
  virtual void OnJobEnd(const EndedJob& job) = 0;
};

using Waiters = std::forward_list<std::shared_ptr<Waiter>>;

/// The means to talk with the thread that runs a job; lives as long as somebody
/// holds it.
struct RunControl {
  CancelToken cancel;
  Progress progress;
};

/// A job between its acceptance and its end: its record, with a guard, and who
/// waits for it. Thread-safe. Shared by the job table, the queue, the worker and
/// the callers that look at it; remains readable after the end.
class LiveJob {
 public:
  explicit LiveJob(JobRecord record) : record_(std::move(record)) {}

  // Constant after construction.
  const std::string& id() const ABSL_NO_THREAD_SAFETY_ANALYSIS { return record_.id; }
  const std::string& pool() const ABSL_NO_THREAD_SAFETY_ANALYSIS { return record_.pool; }
  const Work& work() const ABSL_NO_THREAD_SAFETY_ANALYSIS { return record_.work; }
  bool daemon() const ABSL_NO_THREAD_SAFETY_ANALYSIS { return record_.daemon; }
  absl::Time create_time() const ABSL_NO_THREAD_SAFETY_ANALYSIS { return record_.create_time; }
  Kind kind() const { return KindOf(work()); }

  JobSnapshot Snapshot() const;
  std::string DisplayName() const;

  /// QUEUED to RUNNING under `control`. Returns false if it is not QUEUED.
  bool Start(Attempt attempt, std::shared_ptr<RunControl> control);

  /// From state `from` to an end. Returns false if it is in another state; else
  /// moves those that wait for it into `*waiters`, and nobody can be added any
  /// more.
  bool End(JobState from, JobState end, ResourceUsage usage, Outcome how, Waiters* waiters);

  /// Asks a RUNNING job to end. Returns the state that it was in; in any other
  /// state nothing is done.
  JobState AskToEnd(CancelReason reason);

  /// Applies `change` to a copy of the options and makes that the job's. Returns
  /// the record's copy, or nothing, without a change, if the job has ended.
  template <typename Change>
  std::optional<JobSnapshot> UpdateOptions(Change change);

  /// Returns false, and does not add, if the job has ended.
  bool AddWaiter(std::shared_ptr<Waiter> waiter);
  void RemoveWaiter(const Waiter* waiter);

  /// The final record, which shares its life with `job`. REQUIRES: it has ended.
  static EndedJob Ended(const std::shared_ptr<LiveJob>& job) ABSL_NO_THREAD_SAFETY_ANALYSIS {
    return EndedJob(job, &job->record_);
  }

 private:
  friend class JobQueue;

  JobSnapshot SnapshotLocked() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  mutable Mutex mu_;
  JobRecord record_ ABSL_GUARDED_BY(mu_);
  Waiters waiters_ ABSL_GUARDED_BY(mu_);
  std::shared_ptr<RunControl> control_ ABSL_GUARDED_BY(mu_);  // of a RUNNING job

  // The place in the pool's queue: guarded by whatever guards that queue.
  std::shared_ptr<LiveJob> next_in_queue_;
  LiveJob* previous_in_queue_ = nullptr;
  bool in_queue_ = false;
};

template <typename Change>
std::optional<JobSnapshot> LiveJob::UpdateOptions(Change change) {
  MutexLock lock(mu_);
  if (IsEnded(record_.state)) return std::nullopt;
  auto options = std::make_shared<JobOptions>(record_.Options());
  change(*options);
  record_.options = std::move(options);
  return SnapshotLocked();
}

}  // namespace jobpool
