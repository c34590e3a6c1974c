#pragma once

#include <atomic>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/base/clock.h"
#include "server/job/job_id.h"
#include "server/pipeline/job_table.h"
#include "server/pipeline/live_job.h"
#include "server/pipeline/pool_set.h"
#include "server/store/job_store.h"
#include "server/telemetry/job_metrics.h"

namespace jobpool {

/// Where jobs come in: takes what can be taken, refuses the rest at once.
/// Thread-safe.
class Admission {
 public:
  /// All outlive it. `seed`: random, for job ids.
  Admission(PoolSet& pools, JobTable& table, const JobStore& store, JobMetrics& metrics, const Clock& clock,
            uint64_t seed)
      : pools_(pools), table_(table), store_(store), metrics_(metrics), clock_(clock), ids_(seed) {}

  /// Accepts a job and queues it. `waiter`, if not null, is told of its end,
  /// possibly before this returns. NOT_FOUND: no such pool; ALREADY_EXISTS: its
  /// id is taken; RESOURCE_EXHAUSTED: the queue is full; UNAVAILABLE: shutting
  /// down. Every refusal is counted.
  absl::StatusOr<std::shared_ptr<LiveJob>> Submit(JobSpec spec, std::shared_ptr<Waiter> waiter = nullptr);

 private:
  absl::StatusOr<std::shared_ptr<LiveJob>> Insert(const JobRecord& record, bool own_id,
                                                  const std::shared_ptr<Waiter>& waiter);

  PoolSet& pools_;
  JobTable& table_;
  const JobStore& store_;
  JobMetrics& metrics_;
  const Clock& clock_;
  JobIdMaker ids_;
  std::atomic<uint64_t> last_number_{0};  // of `Job-N`
};

}  // namespace jobpool
