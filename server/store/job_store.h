#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/job/job_record.h"

namespace jobpool {

/// A record that is not changed any more.
using EndedJob = std::shared_ptr<const JobRecord>;

/// A place in the list of all jobs, which is newest first: by `create_time`,
/// then by id. Total, since ids are unique; stable, since both never change.
struct ListKey {
  absl::Time create_time;
  std::string id;

  /// Whether a job with the key `a` is listed before one with `b`.
  static bool Before(absl::Time a_time, const std::string& a_id, absl::Time b_time, const std::string& b_id) {
    return a_time != b_time ? a_time > b_time : a_id > b_id;
  }
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

  /// At most `limit` jobs in list order, the first that come after `after`;
  /// from the beginning without it.
  virtual absl::StatusOr<std::vector<EndedJob>> List(const std::optional<ListKey>& after,
                                                     size_t limit) const = 0;

  /// Forgets a job. Returns whether it was kept.
  virtual absl::StatusOr<bool> Delete(const std::string& id) = 0;

  /// Forgets up to `limit` of the jobs whose expire time is not after `now`.
  /// Returns how many.
  virtual absl::StatusOr<size_t> DeleteExpired(absl::Time now, size_t limit) = 0;
};

}  // namespace jobpool
