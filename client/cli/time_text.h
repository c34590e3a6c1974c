#pragma once

#include <string>

#include <google/protobuf/duration.pb.h>
#include <google/protobuf/timestamp.pb.h>

#include "absl/time/time.h"

// Times and durations, from their messages to what people read.

namespace jobpool::cli {

absl::Duration FromProto(const google::protobuf::Duration& duration);
absl::Time FromProto(const google::protobuf::Timestamp& time);

/// Cut off to what matters at its size: `312us`, `12.3ms`, `2.001s`, `1m02.345s`,
/// `1h02m03.456s`. Negative: `0us`.
std::string DurationText(absl::Duration duration);

/// For a clock that runs: `0.4s`, `1m02s`, `1h02m03s`. Negative: `0.0s`.
std::string ClockText(absl::Duration duration);

/// How long ago, in its largest unit: `12s`, `5m`, `3h`, `2d`. In the future: `0s`.
std::string AgeText(absl::Duration age);

/// RFC 3339 in UTC with milliseconds: `2023-11-22T14:53:01.250Z`.
std::string TimeText(absl::Time time);

}  // namespace jobpool::cli
