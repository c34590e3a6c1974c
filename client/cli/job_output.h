#pragma once

#include <functional>
#include <string>
#include <vector>

#include "client/cli/command.h"
#include "client/cli/job_text.h"

// Jobs that calls have answered with, on standard output.

namespace jobpool::cli {

/// Of one or several jobs that a call each has answered with: a message each, or
/// one table.
ExitStatus PrintJobs(const Session& session, const Jobs& jobs);

/// Calls once for each name, as ForEachName does, and prints the jobs that came back.
ExitStatus CallForJobs(Session& session, const std::vector<std::string>& names,
                       const std::function<absl::StatusOr<v1::Job>(const std::string&)>& call);

}  // namespace jobpool::cli
