#pragma once

#include <memory>
#include <optional>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "server/base/cancel_token.h"
#include "server/base/mutex.h"
#include "server/base/progress.h"
#include "server/job/job_record.h"
#include "server/store/job_store.h"

namespace jobpool {

/// Is told when a job has ended, once for each job that it was added to.
class Waiter {
 public:
  virtual ~Waiter() = default;

  /// `job`'s record is final. Called on the thread that ended the job, without
  /// locks held: be short, do not block.
  virtual void OnJobEnd(const EndedJob& job) = 0;
};

/// By address, so that one of very many is found at once.
using Waiters = absl::flat_hash_map<const Waiter*, std::shared_ptr<Waiter>>;

/// The means to talk with the thread that runs a job; lives as long as somebody
/// holds it.
struct RunControl {
  CancelToken cancel;
  Progress progress;
  /// The end that is being stored; guarded by the job's lock. QUEUED: none.
  JobState ending = JobState::kQueued;
};

/// A job between its acceptance and its end: its record, with a guard, and who
/// waits for it. Thread-safe. Shared by the job table, the queue, the worker and
/// the callers that look at it; remains readable after the end.
class LiveJob {
 public:
  explicit LiveJob(JobRecord record) : record_(std::move(record)) {}

  // Constant after construction.
  const std::string& id() const ABSL_NO_THREAD_SAFETY_ANALYSIS { return record_.id; }
  const std::string& pool() const ABSL_NO_THREAD_SAFETY_ANALYSIS { return *record_.pool; }
  const Work& work() const ABSL_NO_THREAD_SAFETY_ANALYSIS { return record_.work; }
  bool daemon() const ABSL_NO_THREAD_SAFETY_ANALYSIS { return record_.daemon; }
  absl::Time create_time() const ABSL_NO_THREAD_SAFETY_ANALYSIS { return record_.create_time; }
  Kind kind() const { return KindOf(work()); }

  /// For the table's index, which reads and keeps it under the lock that its changes
  /// are made under.
  const JobRecord& record() const ABSL_NO_THREAD_SAFETY_ANALYSIS { return record_; }

  JobSnapshot Snapshot() const;
  std::string DisplayName() const;

  /// What its caller has given it to hold in memory: payload, labels, name.
  int64_t GivenBytes() const;

  /// QUEUED to RUNNING under `control`. Returns false if it is not QUEUED.
  bool Start(Attempt attempt, std::shared_ptr<RunControl> control);

  /// Begins the end of a job in state `from`: from now on nothing else can end,
  /// start or change it, but it still looks as before. Returns its record as it
  /// will be, or null if it is in another state or already about to end.
  EndedJob BeginEnd(JobState from, JobState end, ResourceUsage usage, Outcome how);

  /// Shows the end that BeginEnd gave. Returns those that wait for it; nobody can
  /// be added any more.
  Waiters FinishEnd(const EndedJob& ended);

  /// Asks a RUNNING job to end. Returns the state that it was in; in any other
  /// state nothing is done.
  JobState AskToEnd(CancelReason reason);

  /// Applies `change(JobOptions&, bool is_first)` to a copy of the options and makes
  /// that the job's; `is_first`: it had none of its own. Returns the record's copy,
  /// or nothing, without a change, if the job has ended or is about to.
  template <typename Change>
  std::optional<JobSnapshot> UpdateOptions(Change change);

  /// The state that the job has ended in or is about to end in; else the one that
  /// it is in.
  JobState EndState() const;

  /// Returns false, and does not add, if the job has ended. REQUIRES: `waiter`
  /// was not added to this job before.
  bool AddWaiter(std::shared_ptr<Waiter> waiter);
  void RemoveWaiter(const Waiter* waiter);

 private:
  friend class JobQueue;

  JobSnapshot SnapshotLocked() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  bool Ending() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    return control_ != nullptr && IsEnded(control_->ending);
  }

  mutable Mutex mu_;
  JobRecord record_ ABSL_GUARDED_BY(mu_);
  std::unique_ptr<Waiters> waiters_ ABSL_GUARDED_BY(mu_);  // null: none
  // Of a job that is RUNNING or about to end.
  std::shared_ptr<RunControl> control_ ABSL_GUARDED_BY(mu_);

  // The place in the pool's queue: guarded by whatever guards that queue.
  std::shared_ptr<LiveJob> next_in_queue_;
  LiveJob* previous_in_queue_ = this;  // this: it is in no queue
};

template <typename Change>
std::optional<JobSnapshot> LiveJob::UpdateOptions(Change change) {
  MutexLock lock(mu_);
  if (IsEnded(record_.state) || Ending()) return std::nullopt;
  auto options = std::make_shared<JobOptions>(record_.Options());
  change(*options, record_.options == nullptr);
  record_.options = std::move(options);
  return SnapshotLocked();
}

}  // namespace jobpool
