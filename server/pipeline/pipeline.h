#pragma once

#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "server/base/clock.h"
#include "server/handlers/registry.h"
#include "server/pipeline/admission.h"
#include "server/pipeline/completion.h"
#include "server/pipeline/control.h"
#include "server/pipeline/job_events.h"
#include "server/pipeline/job_log.h"
#include "server/pipeline/job_reader.h"
#include "server/pipeline/job_table.h"
#include "server/pipeline/job_timers.h"
#include "server/pipeline/job_watches.h"
#include "server/pipeline/kind_limits.h"
#include "server/pipeline/notifier.h"
#include "server/pipeline/pool_set.h"
#include "server/pipeline/request_ids.h"
#include "server/pipeline/store_writer.h"
#include "server/pipeline/timer.h"
#include "server/pipeline/upkeep.h"
#include "server/store/job_store.h"
#include "server/telemetry/job_metrics.h"
#include "server/workers/thread_registry.h"

namespace jobpool {

/// Bounds of what callers can make it hold.
struct PipelineLimits {
  /// How many jobs may be waited for at a time, over all WaitJobs calls.
  int64_t max_waits = 1'000'000;
  /// Bytes of payloads and labels of all live jobs together.
  int64_t max_live_bytes = int64_t{1} << 30;
  /// How many request_ids are remembered.
  int64_t max_request_ids = 1'000'000;
  /// Changes of jobs that a watch can go back to.
  int64_t max_watch_events = 100'000;
  /// Bytes that the jobs on disk may take.
  int64_t max_store_bytes = int64_t{1} << 36;
  /// How many watches may be open at a time.
  int64_t max_watches = 1'000;
};

struct PipelineOptions {
  /// Must name `blocking` and `compute`, where jobs go that name no pool.
  std::vector<PoolOptions> pools;
  PipelineLimits limits;
  KindOptionsByKind kinds;
  /// Random: for job ids.
  uint64_t seed = 0;
};

/// The way of a job, from its acceptance to the news of its end; owns the stages
/// and wires them. Thread-safe.
class Pipeline {
 public:
  /// All outlive it. `store`: where ended jobs are read, and those kept that are kept in
  /// memory. `disk`: where others are; null: there are none. `processes`: where jobs of
  /// isolation PROCESS run; null: there are none.
  Pipeline(const PipelineOptions& options, const HandlerRegistry& handlers, JobStore& store,
           ThreadRegistry& registry, prometheus::Registry& metrics, const Clock& clock = Clock::Real(),
           JobStore* disk = nullptr, ProcessPool* processes = nullptr);
  ~Pipeline();
  Pipeline(const Pipeline&) = delete;
  Pipeline& operator=(const Pipeline&) = delete;

  Admission& admission() { return admission_; }
  Control& control() { return control_; }
  const JobReader& reader() const { return reader_; }
  Notifier& notifier() { return notifier_; }
  const PoolSet& pools() const { return pools_; }
  JobWatches& watches() { return watches_; }
  JobMetrics& metrics() { return metrics_; }
  Timer& timer() { return timer_; }
  const Clock& clock() const { return timer_.clock(); }
  size_t live_jobs() const { return table_.size(); }
  /// Whether there are none, and who waits for the last ones has been told.
  bool empty() const { return table_.empty(); }

  KindLimits& kinds() { return kinds_; }
  const HandlerRegistry& handlers() const { return handlers_; }

  /// Takes up what a server before this one has left on disk: its live jobs, the requests
  /// that made them; no job starts before Resume. To be called once, before any job is
  /// accepted; nothing to do where there is no disk. FAILED_PRECONDITION: jobs are of a
  /// pool that there is not; UNAVAILABLE or DATA_LOSS: the store cannot be read.
  absl::Status Recover();
  /// What was recovered may start.
  void ResumeRecovered();

  /// Not OK: the disk refuses, or takes too long.
  absl::Status store_health() const;
  /// Is told when that has become another; see StoreWriter. To be called before Recover.
  void set_on_store_health(std::function<void()> on_health);

  /// REQUIRES: each of `pools` names one that there is.
  void Reconfigure(const std::vector<PoolOptions>& pools, const KindOptionsByKind& kinds,
                   const PipelineLimits& limits);

  /// From its return on, every submission is refused. `on_empty` is called once
  /// all jobs have ended.
  void Close(std::function<void()> on_empty) { table_.Close(std::move(on_empty)); }

  /// Whether a thread is left that did not end its job when asked to, so that Stop
  /// would not return.
  bool HasLostThreads() const;

  /// Ends the workers, when they have run out of work, and the timers.
  /// Idempotent.
  void Stop();

 private:
  double Random();

  // Declared in the order of their dependencies: each uses those above it.
  const HandlerRegistry& handlers_;
  Mutex random_mu_;
  std::mt19937_64 random_ ABSL_GUARDED_BY(random_mu_);
  JobStore* const disk_;
  JobMetrics metrics_;
  std::unique_ptr<StoreMetrics> store_metrics_;  // both null without a disk
  std::unique_ptr<StoreWriter> writer_;
  JobLog log_;
  JobEvents events_;
  JobTable table_;
  JobReader reader_;
  Timer timer_;  // stopped before what it calls goes
  JobTimers job_timers_;
  KindLimits kinds_;
  Completion completion_;
  AttemptRunner runner_;
  PoolSet pools_;
  RequestIds request_ids_;
  Admission admission_;
  Control control_;
  Notifier notifier_;
  JobWatches watches_;
  Upkeep upkeep_;
};

}  // namespace jobpool
