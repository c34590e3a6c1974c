#include "jobpool/printable.h"

#include <cstddef>
#include <cstdint>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace jobpool {
namespace {

struct Character {
  uint32_t code_point = 0;
  size_t size = 0;  // bytes; 0: malformed
};

/// The character that `text` begins with, by the table of well-formed sequences
/// (Unicode 15.0, table 3-7). REQUIRES: !text.empty()
Character Decode(absl::string_view text) {
  const auto byte = [&text](size_t i) -> uint32_t {
    return i < text.size() ? static_cast<unsigned char>(text[i]) : 0;
  };
  const auto continues = [&byte](size_t i) { return (byte(i) & 0xC0) == 0x80; };
  const uint32_t first = byte(0);
  if (first < 0x80) return {first, 1};
  if (first >= 0xC2 && first <= 0xDF && continues(1)) {
    return {(first & 0x1F) << 6 | (byte(1) & 0x3F), 2};
  }
  if (first >= 0xE0 && first <= 0xEF && continues(1) && continues(2)) {
    const uint32_t code_point = (first & 0x0F) << 12 | (byte(1) & 0x3F) << 6 | (byte(2) & 0x3F);
    const bool surrogate = code_point >= 0xD800 && code_point <= 0xDFFF;
    return {code_point, code_point >= 0x800 && !surrogate ? size_t{3} : size_t{0}};
  }
  if (first >= 0xF0 && first <= 0xF4 && continues(1) && continues(2) && continues(3)) {
    const uint32_t code_point =
        (first & 0x07) << 18 | (byte(1) & 0x3F) << 12 | (byte(2) & 0x3F) << 6 | (byte(3) & 0x3F);
    return {code_point, code_point >= 0x10000 && code_point <= 0x10FFFF ? size_t{4} : size_t{0}};
  }
  return {};
}

bool IsPrintable(uint32_t c) {
  if (c < 0x20 || (c >= 0x7F && c < 0xA0)) return false;                         // C0, DEL, C1
  if (c == 0x200E || c == 0x200F || (c >= 0x2028 && c <= 0x202E)) return false;  // marks, separators, bidi
  return !(c >= 0x2066 && c <= 0x2069);                                          // bidi isolates
}

std::string Escape(absl::string_view text, bool is_bytes) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const Character c = Decode(text);
    const size_t size = c.size == 0 ? 1 : c.size;
    const absl::string_view bytes = text.substr(0, size);
    text.remove_prefix(size);
    if (is_bytes && c.code_point == '\n') {
      out += "\\n";
    } else if (is_bytes && c.code_point == '\r') {
      out += "\\r";
    } else if (is_bytes && c.code_point == '\t') {
      out += "\\t";
    } else if (is_bytes && c.code_point == '\\') {
      out += "\\\\";
    } else if (c.size != 0 && IsPrintable(c.code_point)) {
      absl::StrAppend(&out, bytes);
    } else {
      for (const char byte : bytes) absl::StrAppendFormat(&out, "\\x%02x", static_cast<unsigned char>(byte));
    }
  }
  return out;
}

}  // namespace

std::string Printable(absl::string_view text) { return Escape(text, false); }
std::string PrintableBytes(absl::string_view bytes) { return Escape(bytes, true); }

bool IsUtf8(absl::string_view text) {
  while (!text.empty()) {
    const size_t size = Decode(text).size;
    if (size == 0) return false;
    text.remove_prefix(size);
  }
  return true;
}

}  // namespace jobpool
