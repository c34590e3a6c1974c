#pragma once

#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"

// Reads the errors that a Client gives. All of it is thread-safe.

namespace jobpool {

/// The google.rpc detail of type `Detail` (google/rpc/error_details.pb.h) that
/// came with an error, for example `FindDetail<google::rpc::RetryInfo>(status)`.
template <typename Detail>
std::optional<Detail> FindDetail(const absl::Status& status) {
  const auto payload =
      status.GetPayload(absl::StrCat("type.googleapis.com/", Detail::descriptor()->full_name()));
  Detail detail;
  if (!payload || !detail.ParseFromString(std::string(*payload))) return std::nullopt;
  return detail;
}

/// An error for people, with a newline at the end of each line:
///   error: <message>
///     job.sleep.duration: must be …     (for each violation of BadRequest that is
///                                        not the message itself)
///     try again in 1.5s                 (from RetryInfo)
/// Characters that a terminal would obey are escaped.
/// REQUIRES: !status.ok()
std::string FormatError(const absl::Status& status);

}  // namespace jobpool
