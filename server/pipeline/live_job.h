#pragma once

#include <atomic>
#include <csignal>
#include <memory>
#include <optional>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "server/base/cancel_token.h"
#include "server/base/mutex.h"
#include "server/base/progress.h"
#include "server/base/small_mutex.h"
#include "server/job/job_record.h"
#include "server/pipeline/job_events.h"
#include "server/pipeline/timer.h"
#include "server/store/job_store.h"
#include "server/workers/process_pool.h"

namespace jobpool {

/// Is told when a job has ended, once for each job that it was added to.
class Waiter {
 public:
  virtual ~Waiter() = default;

  /// `job`'s record is final. Called on the thread that ended the job, without
  /// locks held: be short, do not block.
  virtual void OnJobEnd(const EndedJob& job) = 0;

  /// In place of that, as it: the server shuts down, and the job is left to the next one.
  virtual void OnJobLeft() = 0;
};

/// By address, so that one of very many is found at once.
using Waiters = absl::flat_hash_map<const Waiter*, std::shared_ptr<Waiter>>;

/// The means to talk with the thread that runs an attempt of a job; lives as long as
/// somebody holds it.
struct RunControl {
  CancelToken cancel;
  Progress progress;
  /// Who sets it decides what becomes of the attempt: the worker that is done with it,
  /// or whoever abandons it.
  std::atomic<bool> decided{false};
  /// How many attempts count, with this one; constant once the job runs.
  int32_t counted_attempts = 0;
  /// Which one it is, of all: 1 for the first; constant once the job runs.
  int32_t number = 0;
  /// The end that is being stored; guarded by the job's lock. QUEUED: none.
  JobState ending = JobState::kQueued;
  /// The version of the progress that was told to those who watch; guarded by the
  /// job's lock.
  uint64_t told_progress = 0;

  /// The timer that abandons the attempt.
  void SetGraceTimer(const Timer::Id& id) {
    MutexLock lock(mu);
    grace_timer = id;
  }
  std::optional<Timer::Id> TakeGraceTimer() {
    MutexLock lock(mu);
    return std::exchange(grace_timer, std::nullopt);
  }

  /// Where the attempt has a process. Returns whether it was ended by force.
  bool SetProcess(ProcessPool::Lease* lease) {
    MutexLock lock(mu);
    process = lease;
    return signals > 0;
  }
  /// What its process is to be sent next; nothing: it has none, or has had them all.
  std::optional<int> NextSignal() {
    MutexLock lock(mu);
    if (process == nullptr || signals == 2) return std::nullopt;
    return signals == 0 ? SIGTERM : SIGKILL;
  }
  /// Whether its process is yet to be sent a signal.
  bool IsUnsignalled() {
    MutexLock lock(mu);
    return process != nullptr && signals == 0;
  }
  void SignalProcess(int signal) {
    MutexLock lock(mu);
    ++signals;
    if (process != nullptr) process->Signal(signal);
  }

  /// The pool's thread is done with the attempt: it is not lost any more.
  void Leave() {
    MutexLock lock(mu);
    left = true;
  }
  /// Calls `fn` unless that is so; it is not so until it returns.
  template <typename Fn>
  void UnlessLeft(Fn fn) {
    MutexLock lock(mu);
    if (!left) fn();
  }

  uint64_t worker_thread_id = 0;  // of the pool's thread; constant once the job runs

  Mutex mu;
  std::optional<Timer::Id> grace_timer ABSL_GUARDED_BY(mu);
  ProcessPool::Lease* process ABSL_GUARDED_BY(mu) = nullptr;
  int signals ABSL_GUARDED_BY(mu) = 0;  // that the process was sent
  bool left ABSL_GUARDED_BY(mu) = false;
};

/// What was done by asking a job to end.
struct Asked {
  JobState state;  // that it was in: an end also if it was about to have that, or was left
  /// Of the attempt that was asked, for the first time; else null.
  std::shared_ptr<RunControl> attempt = nullptr;
  /// Of the one that had been asked before.
  std::shared_ptr<RunControl> asked_before = nullptr;
};

/// A job between its acceptance and its end: its record, with a guard, and who
/// waits for it. Thread-safe. Shared by the job table, the queue, the worker and
/// the callers that look at it; remains readable after the end.
class LiveJob {
 public:
  explicit LiveJob(JobRecord record) : record_(std::move(record)) {}

  // Constant after construction.
  const std::string& id() const ABSL_NO_THREAD_SAFETY_ANALYSIS { return record_.id; }
  uint64_t number() const ABSL_NO_THREAD_SAFETY_ANALYSIS { return record_.number; }
  const std::string& pool() const ABSL_NO_THREAD_SAFETY_ANALYSIS { return *record_.pool; }
  const Work& work() const ABSL_NO_THREAD_SAFETY_ANALYSIS { return record_.work; }
  bool daemon() const ABSL_NO_THREAD_SAFETY_ANALYSIS { return record_.daemon; }
  absl::Time create_time() const ABSL_NO_THREAD_SAFETY_ANALYSIS { return record_.create_time; }
  Kind kind() const { return KindOf(work()); }
  Durability durability() const ABSL_NO_THREAD_SAFETY_ANALYSIS { return record_.durability; }
  Isolation isolation() const ABSL_NO_THREAD_SAFETY_ANALYSIS { return record_.isolation; }

  uint8_t priority() const;
  absl::Time ReadyTime() const;
  /// Never null.
  std::shared_ptr<const JobOptions> Options() const;
  /// For the table's index, which reads and keeps it under the lock that its changes
  /// are made under.
  const JobRecord& record() const ABSL_NO_THREAD_SAFETY_ANALYSIS { return record_; }

  JobSnapshot Snapshot() const;
  std::string DisplayName() const;

  /// What its caller has given it to hold in memory: payload, labels, name.
  int64_t GivenBytes() const;

  // What changes the job tells it to `events`, if that is not null, under the job's lock.

  /// To be called before anybody can find the job.
  void TellCreated(JobEvents& events) const;

  /// Tells how far the work is, unless that was told; to be called when it has said so.
  /// Returns the job as it was told.
  JobSnapshot TellProgress(JobEvents& events) const;

  /// Tells what the program of the attempt under `control` has written, if that still runs.
  void TellOutput(JobEvents& events, const RunControl& control, JobOutput output) const;

  /// QUEUED to RUNNING under `control`. Returns false if it is not QUEUED.
  bool Start(Attempt attempt, std::shared_ptr<RunControl> control, JobEvents* events = nullptr);

  /// Begins the end of a job in state `from`: from now on nothing else can end,
  /// start or change it, but it still looks as before. Returns its record as it
  /// will be, or null if it is in another state or already about to end.
  EndedJob BeginEnd(JobState from, JobState end, ResourceUsage usage, Outcome how);

  /// Shows the end that BeginEnd gave. Returns those that wait for it; nobody can
  /// be added any more.
  Waiters FinishEnd(const EndedJob& ended, JobEvents* events = nullptr);

  /// SCHEDULED to QUEUED, if its time has come. Returns whether it did.
  bool MakeReady(absl::Time now, JobEvents* events = nullptr);

  /// The attempt under `control`, which has been decided, ends with `error`, and the
  /// job is SCHEDULED for another after its backoff (`random`: 0 to 1). Returns false,
  /// and does nothing, if it has had all its attempts, was asked to end for good, or
  /// would be late for its deadline. `retried`: the record as it is then.
  bool Retry(const RunControl& control, absl::Time end_time, ResourceUsage usage, const absl::Status& error,
             double random, JobEvents* events = nullptr, JobRecord* retried = nullptr);

  /// RUNNING to QUEUED: the attempt under `control`, which has been decided, was
  /// interrupted by the server's end, which `error` says. Returns false, and does nothing,
  /// if it is in another state or about to end.
  bool Interrupt(const RunControl& control, absl::Time end_time, ResourceUsage usage,
                 const absl::Status& error, JobEvents* events = nullptr);

  bool left() const {
    MutexLock lock(mu_);
    return left_;
  }

  /// From now on nothing changes the job any more: another server will go on with it.
  /// Returns false, and does nothing, if it runs, was refused, has ended or is about to.
  /// `waiters`: those that wait for it; nobody can be added any more.
  bool Leave(Waiters* waiters);

  /// Whether the job, as it was accepted, is in the store that its durability asks for.
  enum class Keeping : unsigned char { kPending, kKept, kRefused };
  Keeping keeping() const {
    MutexLock lock(mu_);
    return keeping_;
  }
  void SetKeeping(Keeping keeping) {
    MutexLock lock(mu_);
    keeping_ = keeping;
  }

  /// Asks a RUNNING job to end, and says so on its attempt; in any other state
  /// nothing is done. `attempt`: only if that is the one that runs; null: any. `writer`:
  /// of the store that keeps it; null: none does. There it is said if the job shall
  /// not be run again.
  Asked AskToEnd(CancelReason reason, absl::Time now, const RunControl* attempt = nullptr,
                 StoreWriter* writer = nullptr);

  /// Says on the attempt that runs what is done to end it. Returns false, and changes nothing,
  /// if it is another one, or about to end.
  bool MarkStep(const RunControl& attempt, StopStep::Action action, absl::Time now);

  /// Shows on the attempt that runs under `attempt` the process of the program that does its work.
  void ShowProgram(const RunControl& attempt, pid_t process_id);

  /// Applies `change(JobRecord&)`, which returns whether to keep what it did to the
  /// options, priority and state, to a copy of the record and makes these the job's. Returns the record as it
  /// is then, or nothing, without a change, if the job has ended or is about to, or was not changed.
  template <typename Change>
  std::optional<JobSnapshot> Update(Change change, JobEvents* events = nullptr);

  /// The state that the job has ended in or is about to end in; else the one that
  /// it is in.
  JobState EndState() const;

  /// Whether it cannot start any more: it has ended, is about to, or was left.
  bool IsOver() const {
    MutexLock lock(mu_);
    return IsEnded(record_.state) || Ending();
  }

  /// What became of a wish to wait: the waiter will be told, or is too late.
  enum class Await : unsigned char { kAdded, kEnded, kLeft };

  /// REQUIRES: `waiter` was not added to this job before.
  Await AddWaiter(std::shared_ptr<Waiter> waiter);
  void RemoveWaiter(const Waiter* waiter);

 private:
  friend class JobQueue;

  JobSnapshot SnapshotLocked() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  bool Ending() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    return left_ || (control_ != nullptr && IsEnded(control_->ending));
  }

  mutable SmallMutex mu_;
  bool left_ ABSL_GUARDED_BY(mu_) = false;
  Keeping keeping_ ABSL_GUARDED_BY(mu_) = Keeping::kPending;
  JobRecord record_ ABSL_GUARDED_BY(mu_);
  std::unique_ptr<Waiters> waiters_ ABSL_GUARDED_BY(mu_);  // null: none
  // Of a job that is RUNNING or about to end.
  std::shared_ptr<RunControl> control_ ABSL_GUARDED_BY(mu_);

  // The place in the pool's queue: guarded by whatever guards that queue.
  std::shared_ptr<LiveJob> next_in_queue_;
  LiveJob* previous_in_queue_ = this;  // this: it is in no queue
  uint64_t queue_key_ = 0;             // its number there, and 4 bits of priority
};

template <typename Change>
std::optional<JobSnapshot> LiveJob::Update(Change change, JobEvents* events) {
  MutexLock lock(mu_);
  if (IsEnded(record_.state) || Ending()) return std::nullopt;
  JobRecord changed = record_;
  if (!change(changed)) return std::nullopt;
  RecordedChange recorded(events, record_);
  // The rest is constant, and read without the lock.
  record_.options = std::move(changed.options);
  record_.priority = changed.priority;
  record_.state = changed.state;
  ++record_.revision;
  JobSnapshot snapshot = SnapshotLocked();
  recorded.Tell(record_, snapshot.progress);
  return snapshot;
}

}  // namespace jobpool
