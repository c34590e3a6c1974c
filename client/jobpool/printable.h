#pragma once

#include <string>

#include "absl/strings/string_view.h"

// Makes text that comes from elsewhere safe to show on a terminal. Thread-safe.

namespace jobpool {

/// `text` in which each byte that is not part of a printable character of UTF-8
/// is written as `\xNN`: malformed bytes, control characters (of C0 and C1), line
/// separators, and those that turn the direction of writing. For text; not to
/// be undone, since a backslash stays as it is.
std::string Printable(absl::string_view text);

/// The same for arbitrary bytes: also writes `\n`, `\r`, `\t` so, and a backslash
/// as `\\`, so that no two values look alike.
std::string PrintableBytes(absl::string_view bytes);

/// Whether `text` is well-formed UTF-8, as the string fields of requests must be.
bool IsUtf8(absl::string_view text);

}  // namespace jobpool
