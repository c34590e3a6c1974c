#pragma once

#include <memory>
#include <string>
#include <vector>

#include "server/pipeline/job_log.h"
#include "server/pipeline/job_table.h"
#include "server/pipeline/job_timers.h"
#include "server/pipeline/live_job.h"
#include "server/store/job_store.h"
#include "server/telemetry/job_metrics.h"

namespace jobpool {

/// The one writer of ends: records a job's end, then announces it. Counts what
/// attempts come to. Thread-safe.
class Completion {
 public:
  /// All outlive it. `pools`: the names, in the order of the metrics' indexes.
  Completion(JobTable& table, JobStore& store, JobTimers& timers, JobMetrics& metrics, JobLog& log,
             JobEvents& events, std::vector<std::string> pools)
      : table_(table),
        store_(store),
        timers_(timers),
        metrics_(metrics),
        log_(log),
        events_(events),
        pools_(std::move(pools)) {}

  /// Takes `job` from state `from` to its end. Returns false, and does nothing,
  /// if it is in another state, or already on its way there. When this returns, everybody who waited has been
  /// told. `usage`: of the attempt, if there was one.
  bool End(const std::shared_ptr<LiveJob>& job, JobState from, JobState end, ResourceUsage usage,
           Outcome how);

  /// The last attempt of `job` has failed and will be followed by another.
  void Retried(const JobRecord& job);

 private:
  void Count(const JobRecord& job, JobState from);
  void CountAttempt(size_t kind, const Attempt& attempt);

  JobTable& table_;
  JobStore& store_;
  JobTimers& timers_;
  JobMetrics& metrics_;
  JobLog& log_;
  JobEvents& events_;
  const std::vector<std::string> pools_;
};

}  // namespace jobpool
