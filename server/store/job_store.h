#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "server/job/job_record.h"
#include "server/job/request_id.h"
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

/// A job as it is kept from now on, live or ended, in place of what was kept of it.
struct JobWrite {
  std::shared_ptr<const JobRecord> job;
  /// That made it, with a new job: remembered for kRequestIdLifetime from its create_time.
  std::optional<RequestKey> request = std::nullopt;
};

/// A request that has made a job.
struct MadeRequest {
  RequestKey key;
  std::string job_id;
  absl::Time expire_time;
};

/// Where jobs are kept: ended ones until they expire, live ones for the case that the
/// server ends before they do. Records are known by their number. Thread-safe.
///
/// Errors are UNAVAILABLE: the store cannot read or write at the moment; what was
/// written before is still there. DATA_LOSS: what it has kept is damaged.
class JobStore {
 public:
  virtual ~JobStore() = default;

  /// Keeps all of `writes`, or none, as durably as this store can; it can be read when
  /// this returns. REQUIRES: an ended job is written once, and not after its
  /// deletion; of a job that is not kept, no other with its id is.
  virtual absl::Status Commit(absl::Span<const JobWrite> writes) = 0;

  /// Whether Commit would work now, tried as far as that can be done without a job.
  virtual absl::Status CheckWritable() { return absl::OkStatus(); }

  /// How many bytes it takes of a disk, but for those that are written to again before it
  /// grows; 0: it is on none. Takes nanoseconds.
  virtual int64_t UsedBytes() const { return 0; }

  /// Gives some of what it does not need back to the disk, if that is worth while; so little
  /// that writers wait no longer than about 10 ms. To be called now and then.
  virtual absl::Status GiveBackSpace() { return absl::OkStatus(); }

  absl::Status Put(EndedJob job) {
    const JobWrite write{std::move(job)};
    return Commit(absl::MakeConstSpan(&write, 1));
  }

  // Of ended jobs.

  /// Null: not kept, or live.
  virtual absl::StatusOr<EndedJob> Get(const std::string& id) const = 0;

  virtual absl::StatusOr<StoredPage> List(const JobQuery& query) const = 0;

  /// Forgets a job. Returns whether it was kept.
  virtual absl::StatusOr<bool> Delete(const std::string& id) = 0;

  /// Forgets up to `limit` of the jobs whose expire time is not after `now`, and as many
  /// requests. Returns how many jobs.
  virtual absl::StatusOr<size_t> DeleteExpired(absl::Time now, size_t limit) = 0;

  // What a server reads when it starts.

  /// About how many live jobs there are.
  virtual size_t CountLive() const = 0;

  /// Up to `limit` of the live jobs whose number is greater than `after`, by number.
  virtual absl::StatusOr<std::vector<JobRecord>> ListLive(uint64_t after, size_t limit) const = 0;

  /// Up to `limit` of the remembered requests, by id; those whose id is greater than
  /// that of `after`, if it is set.
  virtual absl::StatusOr<std::vector<MadeRequest>> ListRequests(const std::optional<RequestId>& after,
                                                                size_t limit) const = 0;

  /// Not less than the number of any job that was ever kept.
  virtual absl::StatusOr<uint64_t> LastNumber() const = 0;
};

}  // namespace jobpool
