#include "client/cli/time_text.h"

#include <cstdint>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace jobpool::cli {
namespace {

/// Splits off as many whole units as `duration` holds.
int64_t Take(absl::Duration& duration, absl::Duration unit) {
  return absl::IDivDuration(duration, unit, &duration);
}

}  // namespace

absl::Duration FromProto(const google::protobuf::Duration& duration) {
  return absl::Seconds(duration.seconds()) + absl::Nanoseconds(duration.nanos());
}

absl::Time FromProto(const google::protobuf::Timestamp& time) {
  return absl::FromUnixSeconds(time.seconds()) + absl::Nanoseconds(time.nanos());
}

std::string DurationText(absl::Duration duration) {
  if (duration <= absl::ZeroDuration()) return "0us";
  if (duration < absl::Milliseconds(1)) return absl::StrCat(absl::ToInt64Microseconds(duration), "us");
  if (duration < absl::Seconds(1)) {
    const int64_t tenths = duration / absl::Microseconds(100);
    return absl::StrFormat("%d.%dms", tenths / 10, tenths % 10);
  }
  const int64_t hours = Take(duration, absl::Hours(1));
  const int64_t minutes = Take(duration, absl::Minutes(1));
  const int64_t seconds = Take(duration, absl::Seconds(1));
  const int64_t millis = duration / absl::Milliseconds(1);
  if (hours > 0) return absl::StrFormat("%dh%02dm%02d.%03ds", hours, minutes, seconds, millis);
  if (minutes > 0) return absl::StrFormat("%dm%02d.%03ds", minutes, seconds, millis);
  return absl::StrFormat("%d.%03ds", seconds, millis);
}

std::string ClockText(absl::Duration duration) {
  if (duration < absl::ZeroDuration()) duration = absl::ZeroDuration();
  const int64_t hours = Take(duration, absl::Hours(1));
  const int64_t minutes = Take(duration, absl::Minutes(1));
  const int64_t seconds = Take(duration, absl::Seconds(1));
  if (hours > 0) return absl::StrFormat("%dh%02dm%02ds", hours, minutes, seconds);
  if (minutes > 0) return absl::StrFormat("%dm%02ds", minutes, seconds);
  return absl::StrFormat("%d.%ds", seconds, duration / absl::Milliseconds(100));
}

std::string AgeText(absl::Duration age) {
  if (age >= absl::Hours(24)) return absl::StrCat(age / absl::Hours(24), "d");
  if (age >= absl::Hours(1)) return absl::StrCat(age / absl::Hours(1), "h");
  if (age >= absl::Minutes(1)) return absl::StrCat(age / absl::Minutes(1), "m");
  if (age >= absl::ZeroDuration()) return absl::StrCat(age / absl::Seconds(1), "s");
  return "0s";
}

std::string TimeText(absl::Time time) {
  return absl::FormatTime("%Y-%m-%dT%H:%M:%E3SZ", time, absl::UTCTimeZone());
}

}  // namespace jobpool::cli
