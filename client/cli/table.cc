#include "client/cli/table.h"

#include <algorithm>
#include <clocale>
#include <cwchar>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/cli/output.h"
#include "jobpool/printable.h"

namespace jobpool::cli {
namespace {

constexpr size_t kGap = 2;  // spaces between columns

/// Characters as UTF-8 and Unicode have them while it lives, whatever the user's
/// locale is: what a server sends does not depend on that. Of this thread.
class Utf8Locale {
 public:
  Utf8Locale() : before_(uselocale(Locale())) {}
  ~Utf8Locale() { uselocale(before_); }
  Utf8Locale(const Utf8Locale&) = delete;
  Utf8Locale& operator=(const Utf8Locale&) = delete;

 private:
  static locale_t Locale() {
    static const locale_t locale = newlocale(LC_CTYPE_MASK, "C.UTF-8", nullptr);
    return locale;
  }

  const locale_t before_;
};

struct Character {
  size_t bytes;
  size_t columns;
};

/// The character that `text` begins with. REQUIRES: !text.empty(); a Utf8Locale lives
Character FirstCharacter(absl::string_view text) {
  if (static_cast<unsigned char>(text[0]) < 0x80) return {1, 1};
  wchar_t character = 0;
  std::mbstate_t state{};
  const size_t bytes = std::mbrtowc(&character, text.data(), text.size(), &state);
  if (bytes == 0 || bytes > text.size()) return {1, 1};  // malformed
  const int columns = wcwidth(character);
  return {bytes, columns < 0 ? size_t{1} : static_cast<size_t>(columns)};  // < 0: newer than the C library
}

/// The colour for a state (ECMA-48, select graphic rendition); empty for none.
absl::string_view StateColour(absl::string_view state) {
  if (state == "SUCCEEDED") return "\x1b[32m";
  if (state == "FAILED") return "\x1b[31m";
  if (state == "CANCELLED" || state == "RETIRING" || state == "PAUSED" || state == "DRAINING")
    return "\x1b[33m";
  if (state == "RUNNING") return "\x1b[36m";
  return "";
}

}  // namespace

Table::Table(std::vector<std::string> headers) : has_header_(!headers.empty()) {
  if (has_header_) rows_.push_back(std::move(headers));
}

void Table::AddRow(std::vector<std::string> cells) {
  for (std::string& cell : cells) cell = cell.empty() ? "-" : Printable(cell);
  rows_.push_back(std::move(cells));
}

std::string Table::ToString(bool header) const {
  std::vector<size_t> widths;
  for (const auto& row : rows_) {
    widths.resize(std::max(widths.size(), row.size()));
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], DisplayWidth(row[i]));
  }
  const bool colours = OutputShowsColours();
  std::string text;
  for (size_t number = has_header_ && !header ? 1 : 0; number < rows_.size(); ++number) {
    const std::vector<std::string>& row = rows_[number];
    for (size_t i = 0; i < row.size(); ++i) {
      const absl::string_view colour = colours && i == state_column_ ? StateColour(row[i]) : "";
      absl::StrAppend(&text, colour, row[i], colour.empty() ? "" : "\x1b[0m");
      if (i + 1 < row.size()) text.append(widths[i] - DisplayWidth(row[i]) + kGap, ' ');
    }
    text += '\n';
  }
  return text;
}

size_t DisplayWidth(absl::string_view text) {
  const Utf8Locale locale;
  size_t width = 0;
  while (!text.empty()) {
    const Character character = FirstCharacter(text);
    width += character.columns;
    text.remove_prefix(character.bytes);
  }
  return width;
}

std::string CutToWidth(absl::string_view text, size_t limit) {
  if (DisplayWidth(text) <= limit) return std::string(text);
  if (limit == 0) return "";
  const Utf8Locale locale;
  size_t end = 0;
  for (size_t width = 0; end < text.size();) {
    const Character character = FirstCharacter(text.substr(end));
    width += character.columns;
    if (width >= limit) break;  // the last column is for what says that something is missing
    end += character.bytes;
  }
  return absl::StrCat(text.substr(0, end), "…");
}

}  // namespace jobpool::cli
