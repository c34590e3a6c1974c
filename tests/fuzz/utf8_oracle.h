#pragma once

#include <cstdint>
#include <iconv.h>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"
#include "tests/fuzz/check.h"

namespace jobpool {

/// The characters of `text`, as the C library decodes UTF-8; nothing if it is none.
inline std::optional<std::u32string> DecodeUtf8(absl::string_view text) {
  static const iconv_t decoder = iconv_open("UTF-32LE", "UTF-8");
  FUZZ_CHECK(decoder != reinterpret_cast<iconv_t>(-1));
  std::string in(text);
  std::u32string out(in.size() + 1, U'\0');
  char* in_next = in.data();
  char* out_next = reinterpret_cast<char*>(out.data());
  size_t in_left = in.size();
  size_t out_left = out.size() * sizeof(char32_t);
  iconv(decoder, nullptr, nullptr, nullptr, nullptr);
  if (iconv(decoder, &in_next, &in_left, &out_next, &out_left) == static_cast<size_t>(-1))
    return std::nullopt;
  out.resize(out.size() - out_left / sizeof(char32_t));
  return out;
}

inline bool IsUtf8(absl::string_view text) { return DecodeUtf8(text).has_value(); }

}  // namespace jobpool
