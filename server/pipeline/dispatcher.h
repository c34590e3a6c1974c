#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "server/base/clock.h"
#include "server/base/mutex.h"
#include "server/base/rate_limiter.h"
#include "server/pipeline/attempt_runner.h"
#include "server/pipeline/completion.h"
#include "server/pipeline/drain_rate.h"
#include "server/pipeline/job_log.h"
#include "server/pipeline/job_queue.h"
#include "server/pipeline/job_table.h"
#include "server/pipeline/job_timers.h"
#include "server/pipeline/kind_limits.h"
#include "server/pipeline/pool_options.h"
#include "server/pipeline/retry_slots.h"
#include "server/pipeline/timer.h"
#include "server/telemetry/job_metrics.h"
#include "server/workers/executor.h"
#include "server/workers/thread_pool.h"

namespace jobpool {

enum class PoolState : unsigned char {
  kActive,    // takes jobs and runs them
  kPaused,    // takes jobs, starts none
  kDraining,  // takes none, runs those it has
};

/// What a dispatcher has to do at one moment.
struct PoolLoad {
  int64_t scheduled_jobs = 0;
  int64_t queued_jobs = 0;
  int64_t running_jobs = 0;
  int threads = 0;                                         // workers that have started and not ended
  int idle_threads = 0;                                    // those of them that wait for work
  int retiring_threads = 0;                                // lost ones, and those beyond the maximum
  int lost_threads = 0;                                    // those that did not listen, and have not ended
  absl::Time oldest_queued_time = absl::InfiniteFuture();  // that: nothing is queued
};

/// Where a queued job stands.
struct QueuePlace {
  std::optional<size_t> ahead;  // jobs that come before it; unset: it is not in the queue
  PoolState state = PoolState::kActive;
  bool kind_held = false;         // its kind has reached a limit
  bool rate_reached = false;      // the pool has
  bool all_workers_busy = false;  // and there may be no more of them
  absl::Duration interval;        // between two starts, measured while jobs waited; 0: not yet
};

/// One pool: queues its jobs, gives the next one to each free worker, which runs an
/// attempt of it from start to end, and decides what follows. Thread-safe.
/// Destruction ends the workers.
class Dispatcher final : public WorkSource, public HeldUp {
 public:
  struct Dependencies {  // all outlive the dispatcher
    const AttemptRunner& runner;
    JobTable& table;
    Completion& completion;
    JobTimers& job_timers;
    Timer& timer;
    KindLimits& kinds;
    JobMetrics& metrics;
    JobLog& log;
    JobEvents& events;
    ThreadRegistry& registry;
    /// Random numbers in 0 to 1. Thread-safe.
    std::function<double()> random;
  };

  /// `index`: of the pool in the metrics' names.
  Dispatcher(PoolOptions options, size_t index, const Dependencies& dependencies);
  ~Dispatcher() override;

  /// Takes places in the queue, one for each job to come; it keeps its place until it
  /// runs. RESOURCE_EXHAUSTED: so many are not free, or too many come in a second;
  /// UNAVAILABLE: the pool drains. `caller`: as in JobSpec.
  absl::Status Reserve(int64_t places, const std::function<uint64_t()>& caller = nullptr);
  /// Gives places back that will not be used.
  void Release(int64_t places);
  /// Those that Reserve gave are not used since their jobs are not accepted: they do
  /// not count for the rate either.
  void TakeBack(int64_t places);
  /// What Reserve would answer now, but for the rate.
  absl::Status CheckRoom(int64_t places) const;

  /// Queues a job, or lets it wait for its time, as the state says that it was given;
  /// it may have another by now. REQUIRES: a place was reserved for it.
  void Accept(const std::shared_ptr<LiveJob>& job, JobState given);
  /// Queues jobs that were given the state QUEUED, in their order. REQUIRES: likewise.
  void AcceptQueued(absl::Span<const std::shared_ptr<LiveJob>> jobs);

  /// Lets a SCHEDULED job, which has a place, wait for its time, as its record says
  /// that now.
  void AwaitTime(const std::shared_ptr<LiveJob>& job);

  /// Makes a SCHEDULED job QUEUED, if its time has come.
  void MakeReady(const std::shared_ptr<LiveJob>& job);
  /// Queues jobs that are QUEUED, in no queue, and have their places.
  void Enqueue(absl::Span<const std::shared_ptr<LiveJob>> jobs);
  void Enqueue(const std::shared_ptr<LiveJob>& job) { Enqueue(absl::MakeConstSpan(&job, 1)); }

  /// Takes a job that a server before this one has accepted, also where the queue is full.
  void Restore(const std::shared_ptr<LiveJob>& job);

  /// Leaves a job that is kept on disk, and does not run, to the next server.
  void Leave(const std::shared_ptr<LiveJob>& job);

  /// Stops a job whose deadline has passed.
  void Expire(const std::shared_ptr<LiveJob>& job);

  /// Ends a job that waits, asks one that runs to end; nothing if it has ended. One
  /// that does not listen within the pool's `stop_grace` is ended by force where it has a process,
  /// else abandoned.
  void Stop(const std::shared_ptr<LiveJob>& job, CancelReason reason);

  /// Takes a QUEUED job out of the queue, so that it cannot start; it keeps its place.
  /// Returns false if it is not there (any more). To be followed by Accept, Enqueue or
  /// Release.
  bool Withdraw(LiveJob& job);

  /// Jobs that would become ready after `time` are cancelled instead, since the server
  /// ends.
  void SetLastReadyTime(absl::Time time) { last_ready_time_.store(absl::ToUnixNanos(time)); }

  /// No job starts until `held` is false; the pool's state says nothing of it.
  void HoldStarts(bool held);

  void Pause() { SetState(PoolState::kPaused); }
  void Resume() { SetState(PoolState::kActive); }
  void Drain() { SetState(PoolState::kDraining); }

  /// Whether callers that were refused are expected again, so that places are kept.
  bool crowded() const;

  PoolState state() const;
  PoolLoad Load() const;
  QueuePlace PlaceOf(const LiveJob& job) const;
  PoolOptions options() const;
  /// For the records of its jobs.
  const std::shared_ptr<const std::string>& name() const { return name_; }
  size_t index() const { return index_; }

  /// Takes over all but the name. Jobs that are queued stay, also where they are
  /// more than may be now; those that run go on.
  void Reconfigure(const PoolOptions& options);

  /// Starts a worker for what is ready, and was at the call before: should the system have refused one then.
  /// To be called now and then.
  void Kick();

  /// Ends the workers when they have run out of work. Idempotent.
  void StopWorkers();

  bool RunOne(RegisteredThread& worker) override;
  bool HasWork() const override { return ready_.load() > 0; }
  void LetGo(Kind kind) override;

 private:
  using Control = std::shared_ptr<RunControl>;

  void SetState(PoolState state);
  std::shared_ptr<LiveJob> Take();
  void CountReady() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void NotifyReady();
  void SetGraceTimer(const std::shared_ptr<LiveJob>& job, const Control& control);
  void SetGraceTimer(const std::shared_ptr<LiveJob>& job, const Control& control, absl::Duration grace);
  void Escalate(const std::shared_ptr<LiveJob>& job, const Control& control);
  void Hasten(const std::shared_ptr<LiveJob>& job, const Control& control);
  void Abandon(const std::shared_ptr<LiveJob>& job, const Control& control);
  /// REQUIRES: the caller has decided the attempt.
  void FinishAttempt(const std::shared_ptr<LiveJob>& job, RunControl& control, AttemptEnd attempt);
  bool TryRetry(const std::shared_ptr<LiveJob>& job, const RunControl& control, const Outcome& outcome,
                ResourceUsage usage);
  bool TryInterrupt(const std::shared_ptr<LiveJob>& job, const RunControl& control, const Outcome& outcome,
                    ResourceUsage usage);

  const std::shared_ptr<const std::string> name_;
  const size_t index_;
  const Dependencies to_;
  const Clock& clock_;

  std::atomic<int64_t> reserved_{0};  // places taken; never below ready_
  std::atomic<int64_t> ready_{0};     // how many could be taken, for HasWork; written under mu_
  std::atomic<int64_t> last_ready_time_;
  std::atomic<bool> had_work_{false};  // when Kick was called last

  mutable Mutex mu_;
  PoolOptions options_ ABSL_GUARDED_BY(mu_);
  PoolState state_ ABSL_GUARDED_BY(mu_) = PoolState::kActive;
  bool starts_held_ ABSL_GUARDED_BY(mu_) = false;
  JobQueue queue_ ABSL_GUARDED_BY(mu_);
  KindSet held_ ABSL_GUARDED_BY(mu_);  // kinds that may not start at the moment
  RateLimiter starts_ ABSL_GUARDED_BY(mu_);
  RateLimiter submits_ ABSL_GUARDED_BY(mu_);
  std::optional<Timer::Id> rate_timer_ ABSL_GUARDED_BY(mu_);  // set: the rate is reached, until then
  DrainRate drain_rate_ ABSL_GUARDED_BY(mu_);
  RetrySlots slots_ ABSL_GUARDED_BY(mu_);
  // Jobs have become ready of which the executor was not told one by one: who takes one tells it of the next.
  bool pass_on_ ABSL_GUARDED_BY(mu_) = false;

  std::unique_ptr<ThreadPool> executor_;  // last: its threads use the rest
};

}  // namespace jobpool
