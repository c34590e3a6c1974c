#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "server/job/validation.h"

namespace jobpool {

/// A queue of jobs and the workers that take from it; proto/jobpool/v1/pool.proto
/// says what each means.
struct PoolOptions {
  std::string name;
  int min_threads = 0;
  int max_threads = 1;
  absl::Duration idle_timeout = absl::Seconds(10);
  int64_t max_queued_jobs = 1'000'000;
  double max_starts_per_second = 0;   // 0: no limit
  double max_submits_per_second = 0;  // 0: no limit
  absl::Duration stop_grace = absl::Seconds(5);
};

/// Adds a violation for each value out of its bounds (but the name's); `prefix`: the
/// path of the pool, with a dot at its end.
void CheckPoolOptions(const PoolOptions& options, absl::string_view prefix, Violations& violations);

/// Adds a violation unless it is 0, or within the bounds of such a rate.
void CheckRate(double per_second, absl::string_view field, Violations& violations);

}  // namespace jobpool
