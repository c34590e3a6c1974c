#pragma once

#include <cstdint>
#include <optional>
#include <utility>

#include "absl/strings/string_view.h"

namespace jobpool {

/// The 16 bytes of a UUID (RFC 4122), by which a caller names one request so that
/// it can be sent again.
struct RequestId {
  uint64_t high = 0;
  uint64_t low = 0;

  friend bool operator==(const RequestId& a, const RequestId& b) {
    return a.high == b.high && a.low == b.low;
  }
  template <typename H>
  friend H AbslHashValue(H state, const RequestId& id) {
    return H::combine(std::move(state), id.high, id.low);
  }
};

/// From the text form, 8-4-4-4-12 hexadecimal digits in either case. Nothing if it
/// is not that, or the nil UUID, which AIP-155 does not allow.
std::optional<RequestId> ParseRequestId(absl::string_view text);

/// 128 bits that differ where payloads do.
struct Fingerprint {
  uint64_t high = 0;
  uint64_t low = 0;

  friend bool operator==(const Fingerprint& a, const Fingerprint& b) {
    return a.high == b.high && a.low == b.low;
  }
};

/// A named request, with what it asks for.
struct RequestKey {
  RequestId id;
  Fingerprint payload;
};

}  // namespace jobpool
