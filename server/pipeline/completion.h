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

/// The one writer of ends: has a job's end kept, then announces it. Counts what
/// attempts come to. Thread-safe.
class Completion {
 public:
  /// All outlive it. `store`: of jobs that are kept in memory. `pools`: the names, in the
  /// order of the metrics' indexes.
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
  /// if it is in another state, or already on its way there. When this returns, everybody
  /// who waited has been told, unless it is kept on disk: then they are, by another
  /// thread, when its end is. `usage`: of the attempt, if there was one.
  bool End(const std::shared_ptr<LiveJob>& job, JobState from, JobState end, ResourceUsage usage,
           Outcome how);

  /// The last attempt of `job` has failed and will be followed by another.
  void Retried(const JobRecord& job);

  /// Takes a job that is kept on disk, and does not run, out of this server: the next one
  /// goes on with it, and those who wait are told so. Returns false, and does nothing, if
  /// it runs, is not kept so, or is about to end.
  bool Leave(const std::shared_ptr<LiveJob>& job);

  /// The last attempt of `job` was interrupted by the server's end.
  void Interrupted(const JobRecord& job);

 private:
  void Announce(const std::shared_ptr<LiveJob>& job, JobState from, const EndedJob& ended);
  void KeepInMemory(const EndedJob& ended);
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
