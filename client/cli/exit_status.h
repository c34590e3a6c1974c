#pragma once

#include "absl/status/status.h"

namespace jobpool::cli {

/// What the program ends with; part of its interface, see `jobpool --help`.
enum class ExitStatus : int {
  kDone = 0,
  kJobFailed = 1,     // a job that it waited for FAILED or was CANCELLED
  kUsage = 2,         // the command line, or what the server found wrong with it
  kTimeout = 3,       // a wait ran out, or the server did not answer in time
  kNotFound = 4,      // no such job, thread or pool
  kRefused = 5,       // refused, unavailable, and every other error
  kInterrupted = 130  // by SIGINT, SIGTERM or SIGHUP
};

/// The exit status for a call that ended so.
ExitStatus ExitStatusOf(const absl::Status& status);

}  // namespace jobpool::cli
