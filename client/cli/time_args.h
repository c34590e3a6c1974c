#pragma once

#include <optional>
#include <string>

#include <google/protobuf/duration.pb.h>
#include <google/protobuf/timestamp.pb.h>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "jobpool/v1/job.pb.h"

// Durations and times, from what people type to their messages.

namespace jobpool::cli {

/// When a job is to start and to have ended, as on the command line.
struct TimeArgs {
  std::optional<std::string> at;        // a time; not with `in`
  std::optional<std::string> in;        // a duration from now
  std::optional<std::string> deadline;  // either
};

/// Sets those of `schedule_time` and `deadline_time` that were given.
/// INVALID_ARGUMENT with one line for people: a text is no duration or time, or the
/// time is not of the years 1 to 9999.
absl::Status SetTimes(const TimeArgs& args, absl::Time now, v1::Job& job);

/// Whether the same arguments mean other times later.
bool DependsOnNow(const TimeArgs& args);

/// A duration as absl::ParseDuration takes it (`1.5s`, `2m30s`, `100ms`), before
/// it days if any (`2d`, `1d12h`), or a bare number of seconds. Finite; may be negative.
absl::StatusOr<absl::Duration> ParseDurationArg(absl::string_view text);

/// A time as RFC 3339 has it (`2030-01-31T08:00:00Z`, `2030-01-31T08:00:00.5+01:00`);
/// seconds can be left out, and the zone, which is then `local`.
absl::StatusOr<absl::Time> ParseTimeArg(absl::string_view text, absl::TimeZone local);

/// The duration that `text` says; INVALID_ARGUMENT names the option.
absl::Status SetDuration(absl::string_view option, absl::string_view text,
                         google::protobuf::Duration& duration);

/// REQUIRES: `duration` is one that ParseDurationArg gives.
google::protobuf::Duration ToProto(absl::Duration duration);

}  // namespace jobpool::cli
