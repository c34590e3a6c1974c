#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/pipeline/live_job.h"
#include "server/pipeline/pool_set.h"
#include "server/store/job_store.h"

namespace jobpool {

/// What a server before this one has left.
struct Recovered {
  /// Live ones, by number; none is RUNNING: the attempts of those that were have been
  /// interrupted, by `now` at the latest, and do not count.
  std::vector<std::shared_ptr<LiveJob>> jobs;
  size_t interrupted = 0;  // of them
  /// Indexes of those that were asked to end, and had not yet.
  std::vector<size_t> cancelled;
  /// By expire time.
  std::vector<MadeRequest> requests;
  uint64_t last_number = 0;
};

/// Reads it; nothing is changed. FAILED_PRECONDITION: jobs are of a pool that there is not.
absl::StatusOr<Recovered> ReadRecovered(const JobStore& store, const PoolSet& pools, absl::Time now);

}  // namespace jobpool
