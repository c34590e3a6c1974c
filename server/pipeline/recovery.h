#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "server/pipeline/live_job.h"
#include "server/pipeline/pool_set.h"
#include "server/store/job_store.h"

namespace jobpool {

/// What a server before this one has left, beside its live jobs.
struct Recovered {
  size_t jobs = 0;         // live ones
  size_t interrupted = 0;  // of them
  /// Those that were asked to end, and had not yet.
  std::vector<std::shared_ptr<LiveJob>> cancelled;
  /// By expire time.
  std::vector<MadeRequest> requests;
  uint64_t last_number = 0;
  /// No job that is kept was made after that.
  absl::Time last_create_time = absl::InfinitePast();
};

/// Reads it, and gives the live jobs, by number and some at a time while they are in the
/// processor's caches, to `restore`. None is RUNNING: the attempts of those that were have
/// been interrupted, by `now` at the latest, and do not count. Nothing is written.
/// FAILED_PRECONDITION: jobs are of a pool that there is not.
absl::StatusOr<Recovered> ReadRecovered(
    const JobStore& store, const PoolSet& pools, absl::Time now,
    absl::FunctionRef<void(absl::Span<const std::shared_ptr<LiveJob>>)> restore);

}  // namespace jobpool
