#pragma once

#include <cstddef>
#include <deque>
#include <string>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/base/clock.h"
#include "server/base/mutex.h"
#include "server/job/request_id.h"

namespace jobpool {

/// Remembers for 24 h which job each named request made, so that the request can
/// be sent again (AIP-155). Not forgotten before: when `max_ids` are remembered,
/// further ones are refused.
///
/// Its user holds mu() from the look to the remembering: two equal requests that
/// come at once make one job.
class RequestIds {
 public:
  /// `clock` outlives it. About 150 bytes of memory an id.
  RequestIds(const Clock& clock, size_t max_ids) : clock_(clock), max_ids_(max_ids) {}

  Mutex& mu() ABSL_LOCK_RETURNED(mu_) { return mu_; }

  /// The id of the job that the request made; empty: it has not been seen.
  /// FAILED_PRECONDITION: it was, with another payload.
  absl::StatusOr<std::string> Find(const RequestKey& request) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  /// RESOURCE_EXHAUSTED: `count` more cannot be remembered.
  absl::Status CheckRoom(size_t count) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  /// REQUIRES: Find said that it has not been seen, and CheckRoom that there is room.
  void Remember(const RequestKey& request, std::string job_id) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  /// One of a server before this one, to be forgotten at `expire_time`. REQUIRES: they
  /// come in the order of that, before any other.
  void Restore(const RequestKey& request, std::string job_id, absl::Time expire_time)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  /// Its job was not kept.
  void Forget(const RequestId& id) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  /// Those beyond the bound stay until their time is over.
  void set_max_ids(size_t max_ids) {
    MutexLock lock(mu_);
    max_ids_ = max_ids;
  }

  /// Forgets those whose time is over, at most so many as make a short pause.
  void ForgetExpired();

 private:
  struct Entry {
    Fingerprint payload;
    std::string job_id;
    MonotonicTime expire_time;
  };

  void Add(const RequestKey& request, std::string job_id, MonotonicTime expire_time)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void ForgetExpiredLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const Clock& clock_;

  Mutex mu_;
  size_t max_ids_ ABSL_GUARDED_BY(mu_);
  absl::flat_hash_map<RequestId, Entry> entries_ ABSL_GUARDED_BY(mu_);
  // In the order of their coming, which is that of their expiry; with some that were forgotten before that.
  std::deque<std::pair<MonotonicTime, RequestId>> expiry_ ABSL_GUARDED_BY(mu_);
};

}  // namespace jobpool
