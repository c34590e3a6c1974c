#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace re2 {
class RE2;
}

namespace jobpool {

/// What all of a text shall match; constant, shared. Its matching takes time in
/// proportion to the text, whatever the pattern.
using TextPattern = std::shared_ptr<const re2::RE2>;

/// INVALID_ARGUMENT: `pattern` is none of RE2's syntax, or needs too much memory.
absl::StatusOr<TextPattern> ParseTextPattern(absl::string_view pattern);

/// A value of a command that its caller chooses; jobpool.config.v1.Parameter says what
/// each kind of them takes. Thread-safe: constant once it is in use.
struct CommandParameter {
  enum class Type : unsigned char { kString, kInt, kBool, kEnum, kPath };

  std::string name;
  Type type = Type::kString;
  TextPattern pattern;  // of kString; null: UTF-8 without control characters
  int64_t max_bytes = 4096;
  int64_t min = 0;                                    // of kInt
  int64_t max = std::numeric_limits<int64_t>::max();  // of kInt
  std::vector<std::string> values;                    // of kEnum
  std::optional<std::string> default_value;           // nothing: the caller must give one
  bool allow_leading_dash = false;                    // not of kInt

  /// Why `value` is not one that it takes, as "must ..."; empty: it is one.
  std::string FaultOf(absl::string_view value) const;
};

}  // namespace jobpool
