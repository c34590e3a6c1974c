#include "server/service/time_codec.h"

namespace jobpool {

void EncodeDuration(absl::Duration duration, google::protobuf::Duration* encoded) {
  encoded->set_seconds(absl::IDivDuration(duration, absl::Seconds(1), &duration));
  encoded->set_nanos(static_cast<int32_t>(absl::ToInt64Nanoseconds(duration)));
}

void EncodeTime(absl::Time time, google::protobuf::Timestamp* encoded) {
  encoded->set_seconds(absl::ToUnixSeconds(time));
  encoded->set_nanos(
      static_cast<int32_t>(absl::ToInt64Nanoseconds(time - absl::FromUnixSeconds(encoded->seconds()))));
}

std::optional<absl::Duration> DecodeDuration(const google::protobuf::Duration& encoded,
                                             absl::string_view field, Violations& violations) {
  constexpr int64_t kMaxSeconds = 315'576'000'000;  // duration.proto
  constexpr int32_t kMaxNanos = 999'999'999;
  const int64_t seconds = encoded.seconds();
  const int32_t nanos = encoded.nanos();
  if (seconds < -kMaxSeconds || seconds > kMaxSeconds || nanos < -kMaxNanos || nanos > kMaxNanos ||
      (seconds < 0 && nanos > 0) || (seconds > 0 && nanos < 0)) {
    violations.Add(field, "is not a duration");
    return std::nullopt;
  }
  return absl::Seconds(seconds) + absl::Nanoseconds(nanos);
}

std::optional<absl::Time> DecodeTime(const google::protobuf::Timestamp& encoded, absl::string_view field,
                                     Violations& violations) {
  constexpr int64_t kMinSeconds = -62'135'596'800;  // timestamp.proto
  constexpr int64_t kMaxSeconds = 253'402'300'799;
  if (encoded.seconds() < kMinSeconds || encoded.seconds() > kMaxSeconds || encoded.nanos() < 0 ||
      encoded.nanos() > 999'999'999) {
    violations.Add(field, "is not a time");
    return std::nullopt;
  }
  return absl::FromUnixSeconds(encoded.seconds()) + absl::Nanoseconds(encoded.nanos());
}

}  // namespace jobpool
