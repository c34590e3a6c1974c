#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/cli/time_args.h"
#include "jobpool/v1/job_service.pb.h"

// What `jobs update` was given, from text to the request.

namespace jobpool::cli {

/// As on the command line; empty or unset where it was not given.
struct JobUpdateArgs {
  std::string name;
  std::string display_name;
  std::vector<std::string> labels;  // `key=value`
  std::optional<int32_t> priority;
  TimeArgs times;
  bool now = false;  // not with a time to start at
  bool no_deadline = false;
  std::string etag;
};

/// The mask names what was given. INVALID_ARGUMENT with one line for people: there is
/// nothing to change, or as for ToSubmitRequest.
absl::StatusOr<v1::UpdateJobRequest> ToUpdateRequest(const JobUpdateArgs& args, absl::Time now);

}  // namespace jobpool::cli
