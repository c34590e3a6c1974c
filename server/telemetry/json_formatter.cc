#include "server/telemetry/json_formatter.h"

#include <chrono>

#include <spdlog/details/log_msg.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/time.h"

namespace jobpool {
namespace {

// How many bytes the character at the beginning of `text` has; 0: it is no UTF-8 (RFC 3629).
size_t CharacterLength(absl::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(0);
  const size_t length = lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
  if ((lead >= 0x80 && lead < 0xc2) || lead > 0xf4 || length > text.size()) return 0;
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
  }
  if (length < 3) return length;
  const bool overlong = (lead == 0xe0 && byte(1) < 0xa0) || (lead == 0xf0 && byte(1) < 0x90);
  const bool beyond = (lead == 0xed && byte(1) > 0x9f) || (lead == 0xf4 && byte(1) > 0x8f);
  return overlong || beyond ? 0 : length;
}

}  // namespace

std::string EscapeJson(absl::string_view text) {
  std::string escaped;
  while (!text.empty()) {
    const size_t length = CharacterLength(text);
    const auto c = static_cast<unsigned char>(text[0]);
    if (length == 0) {
      escaped += "\xef\xbf\xbd";
    } else if (c == '"' || c == '\\') {
      escaped += {'\\', static_cast<char>(c)};
    } else if (c < 0x20) {
      absl::StrAppendFormat(&escaped, "\\u%04x", c);
    } else {
      escaped.append(text.data(), length);
    }
    text.remove_prefix(length == 0 ? 1 : length);
  }
  return escaped;
}

void JsonFormatter::format(const spdlog::details::log_msg& line, spdlog::memory_buf_t& out) {
  const auto level = spdlog::level::to_string_view(line.level);
  const std::string text =
      absl::StrCat(R"({"time":")",
                   absl::FormatTime("%Y-%m-%dT%H:%M:%E3SZ", absl::FromChrono(line.time), absl::UTCTimeZone()),
                   R"(","level":")", absl::string_view(level.data(), level.size()), R"(","message":")",
                   EscapeJson({line.payload.data(), line.payload.size()}), "\"}\n");
  out.append(text.data(), text.data() + text.size());
}

}  // namespace jobpool
