#pragma once

#include <cstddef>
#include <optional>

#include "server/query/job_filter.h"
#include "server/query/job_order.h"

namespace jobpool {

/// Which jobs are asked for, and how many at once.
struct JobQuery {
  JobFilter filter = {};
  JobOrder order = {};
  std::optional<JobPosition> after = {};  // nothing: from the beginning
  /// At most so many; at least 1.
  size_t limit = 50;
  /// A call ends, with what it has found, once it has looked at so many jobs; it does
  /// look at one.
  size_t max_looked_at = 10'000;
};

}  // namespace jobpool
