#include "server/handlers/argument_template.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "server/job/validation.h"

namespace jobpool {

absl::StatusOr<ArgumentTemplate> ArgumentTemplate::Parse(absl::string_view text) {
  if (text.find('\0') != absl::string_view::npos) return absl::InvalidArgumentError("must have no NUL");
  ArgumentTemplate parsed;
  std::string literal;
  while (!text.empty()) {
    if (text[0] != '{') {
      const size_t end = text.find('{');
      absl::StrAppend(&literal, text.substr(0, end));
      text.remove_prefix(end == absl::string_view::npos ? text.size() : end);
      continue;
    }
    if (text.size() > 1 && text[1] == '{') {
      literal.push_back('{');
      text.remove_prefix(2);
      continue;
    }
    const size_t end = text.find('}');
    if (end == absl::string_view::npos) {
      return absl::InvalidArgumentError("has a { without a }; {{ is the brace itself");
    }
    const absl::string_view name = text.substr(1, end - 1);
    if (!IsLabelKey(name)) {
      return absl::InvalidArgumentError(
          absl::StrCat(Shown(name), " is no name of a parameter; {{ is the brace itself"));
    }
    if (!literal.empty()) parsed.pieces_.push_back({false, std::exchange(literal, "")});
    parsed.pieces_.push_back({true, std::string(name)});
    text.remove_prefix(end + 1);
  }
  if (!literal.empty()) parsed.pieces_.push_back({false, std::move(literal)});
  return parsed;
}

std::vector<std::string> ArgumentTemplate::Names() const {
  std::vector<std::string> names;
  for (const Piece& piece : pieces_) {
    if (piece.is_name) names.push_back(piece.text);
  }
  return names;
}

std::string ArgumentTemplate::Fill(const std::map<std::string, std::string>& values) const {
  std::string filled;
  for (const Piece& piece : pieces_) filled += piece.is_name ? values.at(piece.text) : piece.text;
  return filled;
}

}  // namespace jobpool
