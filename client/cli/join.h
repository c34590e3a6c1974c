#pragma once

#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "jobpool/client.h"

namespace jobpool::cli {

/// How to wait for jobs.
struct JoinOptions {
  v1::WaitJobsRequest::Mode mode = v1::WaitJobsRequest::ALL;
  /// When the wait runs out.
  absl::Time deadline = absl::InfiniteFuture();
  /// How long one call waits. Short enough, so that a server that is gone is
  /// noticed.
  absl::Duration slice = absl::Seconds(10);
};

/// Sees the jobs as they stand after each slice; null where the server refused
/// it. False: stop waiting.
using KeepWaiting = std::function<bool(const v1::WaitJobsResponse*)>;

inline bool WaitOn(const v1::WaitJobsResponse*) { return true; }

/// Waits for jobs in calls of one slice each, until they have ended, the
/// deadline has passed or `keep_waiting` says false: the last answer says
/// `timed_out` in the latter two cases. A server that holds as many waits as it
/// can is asked again after the time that it names.
absl::StatusOr<v1::WaitJobsResponse> Join(Client& client, const std::vector<std::string>& names,
                                          const JoinOptions& options, const KeepWaiting& keep_waiting);

}  // namespace jobpool::cli
