#pragma once

#include <string>

#include "absl/strings/string_view.h"
#include "jobpool/config/v1/config.pb.h"
#include "server/job/validation.h"
#include "server/process/program.h"
#include "server/workers/process_pool.h"

namespace jobpool {

// With a violation for each thing that is not as proto/jobpool/config/v1/config.proto says.

/// What there must be of limits that are not 0.
struct LeastFences {
  int64_t memory_bytes;
  int64_t open_files;
};

/// Puts the limits that are given into `fences`; `path`: of them in the file.
void DecodeProcessLimits(const config::v1::ProcessLimits& limits, const LeastFences& least,
                         absl::string_view path, Fences& fences, Violations& violations);

/// Whether there is that user; an empty name is the server's.
void CheckUser(const std::string& user, absl::string_view path, Violations& violations);

ProcessPoolOptions DecodeProcesses(const config::v1::Processes& encoded, Violations& violations);

}  // namespace jobpool
