#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/strings/cord.h"

namespace jobpool {

/// A copy that shares nothing with `status`, for another thread. Copies of a status share
/// what they hold and count who does; Debian's Abseil does so unseen by ThreadSanitizer,
/// which then takes the last one's deletion for a race.
inline absl::Status CopyForThread(const absl::Status& status) {
  if (status.ok()) return status;
  absl::Status copy(status.code(), status.message());
  status.ForEachPayload([&copy](absl::string_view type, const absl::Cord& payload) {
    copy.SetPayload(type, absl::Cord(std::string(payload)));
  });
  return copy;
}

}  // namespace jobpool
