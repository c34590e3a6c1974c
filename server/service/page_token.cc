#include "server/service/page_token.h"

#include <cstdint>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace jobpool {
namespace {

constexpr size_t kSumDigits = 16;

}  // namespace

// FNV-1a, 64 bits: against mistakes, not against malice, since a token carries
// no rights. The same in every process, which absl::Hash is not.
std::string TokenSum(absl::string_view list, absl::string_view position) {
  uint64_t hash = 0xcbf29ce484222325;
  for (const absl::string_view part : {list, absl::string_view("\0", 1), position}) {
    for (const char c : part) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  }
  return absl::StrCat(absl::Hex(hash, absl::kZeroPad16));
}

std::string MakePageToken(absl::string_view list, absl::string_view position) {
  return absl::WebSafeBase64Escape(absl::StrCat(TokenSum(list, position), position));
}

std::optional<std::string> ReadPageToken(absl::string_view list, absl::string_view token) {
  std::string plain;
  if (!absl::WebSafeBase64Unescape(token, &plain) || plain.size() < kSumDigits) return std::nullopt;
  std::string position = plain.substr(kSumDigits);
  if (plain.substr(0, kSumDigits) != TokenSum(list, position)) return std::nullopt;
  return position;
}

}  // namespace jobpool
