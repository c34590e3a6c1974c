#include "jobpool/errors.h"

#include <google/protobuf/util/time_util.h>
#include <google/rpc/error_details.pb.h>

#include "absl/time/time.h"
#include "jobpool/printable.h"

namespace jobpool {

std::string FormatError(const absl::Status& status) {
  std::string text = "error: ";
  if (status.message().empty()) {
    absl::StrAppend(&text, absl::StatusCodeToString(status.code()), "\n");
  } else {
    absl::StrAppend(&text, Printable(status.message()), "\n");
  }
  if (const auto bad_request = FindDetail<google::rpc::BadRequest>(status)) {
    for (const auto& violation : bad_request->field_violations()) {
      const std::string line = absl::StrCat(violation.field(), ": ", violation.description());
      if (line != status.message()) absl::StrAppend(&text, "  ", Printable(line), "\n");
    }
  }
  if (const auto retry = FindDetail<google::rpc::RetryInfo>(status); retry && retry->has_retry_delay()) {
    const int64_t delay = google::protobuf::util::TimeUtil::DurationToMilliseconds(retry->retry_delay());
    absl::StrAppend(&text, "  try again in ", absl::FormatDuration(absl::Milliseconds(delay)), "\n");
  }
  return text;
}

}  // namespace jobpool
