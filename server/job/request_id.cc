#include "server/job/request_id.h"

#include <array>
#include <cstddef>

#include "absl/strings/ascii.h"

namespace jobpool {

std::optional<RequestId> ParseRequestId(absl::string_view text) {
  constexpr size_t kLength = 36;
  if (text.size() != kLength) return std::nullopt;
  std::array<uint64_t, 2> halves{};
  size_t digits = 0;
  for (size_t i = 0; i < kLength; ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    if (i == 8 || i == 13 || i == 18 || i == 23) {
      if (c != '-') return std::nullopt;
      continue;
    }
    if (!absl::ascii_isxdigit(c)) return std::nullopt;
    const int value = absl::ascii_isdigit(c) ? c - '0' : absl::ascii_tolower(c) - 'a' + 10;
    uint64_t& half = halves[digits++ / 16];
    half = (half << 4) | static_cast<uint64_t>(value);
  }
  const RequestId id{halves[0], halves[1]};
  if (id == RequestId{}) return std::nullopt;
  return id;
}

}  // namespace jobpool
