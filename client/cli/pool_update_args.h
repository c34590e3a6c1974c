#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "jobpool/v1/pool_service.pb.h"

// What `pools resize` was given, from text to the request.

namespace jobpool::cli {

/// As on the command line; unset where it was not given.
struct PoolUpdateArgs {
  std::string name;
  std::optional<int32_t> min_threads;
  std::optional<int32_t> max_threads;
  std::optional<int64_t> max_queued_jobs;
  std::optional<double> max_starts_per_second;
  std::optional<double> max_submits_per_second;
  std::optional<std::string> idle_timeout;
  std::optional<std::string> stop_grace;
};

/// The mask names what was given. INVALID_ARGUMENT with one line for people: there is
/// nothing to change, or a text is no duration.
absl::StatusOr<v1::UpdatePoolRequest> ToUpdateRequest(const PoolUpdateArgs& args);

}  // namespace jobpool::cli
