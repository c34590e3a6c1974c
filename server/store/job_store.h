#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/job/job_record.h"
#include "server/query/job_query.h"

namespace jobpool {

/// A record that is not changed any more.
using EndedJob = std::shared_ptr<const JobRecord>;

/// Ended jobs that a query found.
struct StoredPage {
  std::vector<EndedJob> jobs;  // in the query's order
  /// Nothing: no others match. Else the place up to which it has looked.
  std::optional<JobPosition> looked_up_to;
};

/// Where jobs are kept once they have ended, until they expire. (Live jobs are
/// the job table's.) Thread-safe. Errors are UNAVAILABLE: the store cannot read
/// or write at the moment.
class JobStore {
 public:
  virtual ~JobStore() = default;

  /// Keeps `job`; it can be read when this returns. REQUIRES: it has ended, and
  /// no job with its id is kept.
  virtual absl::Status Put(EndedJob job) = 0;

  /// Null: not kept.
  virtual absl::StatusOr<EndedJob> Get(const std::string& id) const = 0;

  virtual absl::StatusOr<StoredPage> List(const JobQuery& query) const = 0;

  /// Forgets a job. Returns whether it was kept.
  virtual absl::StatusOr<bool> Delete(const std::string& id) = 0;

  /// Forgets up to `limit` of the jobs whose expire time is not after `now`.
  /// Returns how many.
  virtual absl::StatusOr<size_t> DeleteExpired(absl::Time now, size_t limit) = 0;
};

}  // namespace jobpool
