#pragma once

#include <vector>

#include "absl/time/time.h"
#include "jobpool/config/v1/config.pb.h"
#include "server/handlers/allowed_command.h"
#include "server/job/validation.h"

namespace jobpool {

/// The commands of a config file, with a violation for each thing that is not as
/// proto/jobpool/config/v1/config.proto says. `stop_grace`: of the pool in which they run.
std::vector<AllowedCommand> DecodeCommands(const config::v1::ServerConfig& encoded, absl::Duration stop_grace,
                                           Violations& violations);

}  // namespace jobpool
