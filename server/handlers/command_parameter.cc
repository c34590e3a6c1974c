#include "server/handlers/command_parameter.h"

#include <algorithm>
#include <re2/re2.h>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "server/job/validation.h"

namespace jobpool {
namespace {

// What is told of a pattern, or of values, to who did not meet it.
constexpr size_t kShownBytes = 200;

re2::StringPiece Piece(absl::string_view text) { return {text.data(), text.size()}; }

bool IsPathBelow(absl::string_view value) {
  if (!CountPrintable(value).has_value()) return false;
  for (const absl::string_view part : absl::StrSplit(value, '/')) {
    if (part.empty() || part == "." || part == "..") return false;
  }
  return true;
}

}  // namespace

absl::StatusOr<TextPattern> ParseTextPattern(absl::string_view pattern) {
  re2::RE2::Options options;
  options.set_log_errors(false);
  auto parsed = std::make_shared<const re2::RE2>(Piece(pattern), options);
  if (!parsed->ok()) return absl::InvalidArgumentError(parsed->error());
  return parsed;
}

std::string CommandParameter::FaultOf(absl::string_view value) const {
  if (value.size() > static_cast<size_t>(max_bytes)) {
    return absl::StrCat("must be at most ", max_bytes, " bytes, has ", value.size());
  }
  if (value.find('\0') != absl::string_view::npos) return "must have no NUL";
  if (type != Type::kInt && !allow_leading_dash && absl::StartsWith(value, "-")) {
    return "must not begin with -";
  }
  switch (type) {
    case Type::kString:
      if (pattern == nullptr) {
        return CountPrintable(value).has_value() ? "" : "must be UTF-8 without control characters";
      }
      if (re2::RE2::FullMatch(Piece(value), *pattern)) return "";
      return absl::StrCat("must match ", CutAtCharacter(pattern->pattern(), kShownBytes));
    case Type::kInt: {
      int64_t number = 0;
      // SimpleAtoi takes also what a program would take for something else, such as 010.
      const bool is_one = absl::SimpleAtoi(value, &number) && absl::StrCat(number) == value;
      return is_one && number >= min && number <= max
                 ? ""
                 : absl::StrCat("must be a whole number from ", min, " to ", max);
    }
    case Type::kBool:
      return value == "true" || value == "false" ? "" : "must be true or false";
    case Type::kEnum:
      if (std::find(values.begin(), values.end(), value) != values.end()) return "";
      return absl::StrCat("must be one of ", CutAtCharacter(absl::StrJoin(values, ", "), kShownBytes));
    case Type::kPath:
      return IsPathBelow(value)
                 ? ""
                 : "must be a relative path without . or .. or empty parts, and without control characters";
  }
  return "is of no type that there is";
}

}  // namespace jobpool
