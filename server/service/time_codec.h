#pragma once

#include <optional>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "google/protobuf/duration.pb.h"
#include "google/protobuf/timestamp.pb.h"
#include "server/job/validation.h"

namespace jobpool {

void EncodeDuration(absl::Duration duration, google::protobuf::Duration* encoded);
void EncodeTime(absl::Time time, google::protobuf::Timestamp* encoded);

/// The duration, if it is one by duration.proto: within about 10,000 years, both
/// parts of one sign. Otherwise nothing, with a violation of `field`.
std::optional<absl::Duration> DecodeDuration(const google::protobuf::Duration& encoded,
                                             absl::string_view field, Violations& violations);

/// The time, if it is one by timestamp.proto: of the years 1 to 9999. Otherwise
/// nothing, with a violation of `field`.
std::optional<absl::Time> DecodeTime(const google::protobuf::Timestamp& encoded, absl::string_view field,
                                     Violations& violations);

}  // namespace jobpool
