#include "client/cli/exit_status.h"

namespace jobpool::cli {

ExitStatus ExitStatusOf(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kOk:
      return ExitStatus::kDone;
    case absl::StatusCode::kInvalidArgument:
      return ExitStatus::kUsage;
    case absl::StatusCode::kDeadlineExceeded:
      return ExitStatus::kTimeout;
    case absl::StatusCode::kNotFound:
      return ExitStatus::kNotFound;
    default:
      return ExitStatus::kRefused;
  }
}

}  // namespace jobpool::cli
