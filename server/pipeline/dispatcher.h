#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "server/base/clock.h"
#include "server/base/mutex.h"
#include "server/handlers/registry.h"
#include "server/pipeline/completion.h"
#include "server/pipeline/job_log.h"
#include "server/pipeline/job_queue.h"
#include "server/pipeline/job_table.h"
#include "server/telemetry/job_metrics.h"
#include "server/workers/executor.h"
#include "server/workers/thread_pool.h"

namespace jobpool {

/// A queue of jobs and the workers that take from it.
struct PoolOptions {
  std::string name;
  int min_threads = 0;
  int max_threads = 1;
  absl::Duration idle_timeout = absl::Seconds(10);
  int64_t max_queued_jobs = 1'000'000;
};

/// What a dispatcher has to do at one moment.
struct PoolLoad {
  int64_t queued_jobs = 0;
  int64_t running_jobs = 0;
  absl::Time oldest_queued_time = absl::InfinitePast();  // that: nothing is queued
};

/// One pool: queues its jobs and gives the next one to each free worker, which
/// it runs from start to end. Thread-safe. Destruction ends the workers.
class Dispatcher final : public WorkSource {
 public:
  struct Dependencies {  // all outlive the dispatcher
    const HandlerRegistry& handlers;
    JobTable& table;
    Completion& completion;
    JobMetrics& metrics;
    JobLog& log;
    ThreadRegistry& registry;
    const Clock& clock;
  };

  /// `index`: of the pool in the metrics' names.
  Dispatcher(PoolOptions options, size_t index, const Dependencies& dependencies);
  ~Dispatcher() override;

  /// Takes places in the queue, one for each Enqueue to come. RESOURCE_EXHAUSTED: so
  /// many are not free.
  absl::Status Reserve(int64_t places);
  /// Gives places back that will not be used.
  void Release(int64_t places);
  /// What Reserve would answer now.
  absl::Status CheckRoom(int64_t places) const;

  /// REQUIRES: a place was reserved for `job`.
  void Enqueue(std::shared_ptr<LiveJob> job);

  /// Takes a job out that has ended while queued, if it still is.
  void Remove(LiveJob& job);

  PoolLoad Load() const;
  PoolOptions options() const;
  /// For the records of its jobs.
  const std::shared_ptr<const std::string>& name() const { return name_; }
  size_t index() const { return index_; }

  /// Takes over all but the name. Jobs that are queued stay, also where they are
  /// more than may be now; those that run go on.
  void Reconfigure(const PoolOptions& options);

  /// Starts workers for what is ready, should the system have refused one before.
  void Kick();

  /// Ends the workers when they have run out of work. Idempotent.
  void Stop();

  bool RunOne(RegisteredThread& worker) override;
  bool HasWork() const override { return ready_.load() > 0; }

 private:
  std::shared_ptr<LiveJob> Take();
  absl::Status QueueFull(int64_t missing_places) const;

  const std::shared_ptr<const std::string> name_;
  const size_t index_;
  const Dependencies to_;

  std::atomic<int64_t> max_queued_jobs_;
  std::atomic<int64_t> reserved_{0};  // places taken; never below ready_
  std::atomic<int64_t> ready_{0};     // the queue's size, for HasWork; written under mu_
  std::atomic<int64_t> running_{0};

  mutable Mutex mu_;
  PoolOptions options_ ABSL_GUARDED_BY(mu_);
  JobQueue queue_ ABSL_GUARDED_BY(mu_);
  // How fast the queue drains: the moving average of the time between two takes
  // (weight 1/16 to the last) while jobs wait. last_take_: or since when they do.
  std::optional<MonotonicTime> last_take_ ABSL_GUARDED_BY(mu_);
  double take_interval_seconds_ ABSL_GUARDED_BY(mu_) = 0;

  std::unique_ptr<ThreadPool> executor_;  // last: its threads use the rest
};

}  // namespace jobpool
