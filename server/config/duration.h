#pragma once

#include <google/protobuf/duration.pb.h>

#include "absl/time/time.h"

namespace jobpool {

/// As it is given, also where it is out of Protobuf's bounds: those of the field are for who asks to check.
inline absl::Duration DecodeDuration(const google::protobuf::Duration& given) {
  return absl::Seconds(given.seconds()) + absl::Nanoseconds(given.nanos());
}

}  // namespace jobpool
