#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/string_view.h"

namespace jobpool {

/// 128 bits as 16 bytes, whose order is that of the numbers.
inline std::string PackKey(uint64_t high, uint64_t low) {
  std::string bytes;
  for (const uint64_t part : {high, low}) {
    for (int shift = 56; shift >= 0; shift -= 8) bytes.push_back(static_cast<char>(part >> shift));
  }
  return bytes;
}

/// Nothing: these are not 16 bytes.
inline std::optional<std::pair<uint64_t, uint64_t>> UnpackKey(absl::string_view bytes) {
  if (bytes.size() != 16) return std::nullopt;
  uint64_t parts[2] = {0, 0};
  for (size_t i = 0; i < 16; ++i) {
    parts[i / 8] = parts[i / 8] << 8 | static_cast<unsigned char>(bytes[i]);
  }
  return std::make_pair(parts[0], parts[1]);
}

}  // namespace jobpool
