#include "client/cli/table.h"

#include <algorithm>
#include <cstddef>
#include <utility>

#include "absl/strings/str_cat.h"
#include "jobpool/printable.h"

namespace jobpool::cli {
namespace {

constexpr size_t kGap = 2;  // spaces between columns

bool BeginsCharacter(char byte) { return (static_cast<unsigned char>(byte) & 0xC0) != 0x80; }

}  // namespace

Table::Table(std::vector<std::string> headers) {
  if (!headers.empty()) rows_.push_back(std::move(headers));
}

void Table::AddRow(std::vector<std::string> cells) {
  for (std::string& cell : cells) cell = cell.empty() ? "-" : Printable(cell);
  rows_.push_back(std::move(cells));
}

std::string Table::ToString() const {
  std::vector<size_t> widths;
  for (const auto& row : rows_) {
    widths.resize(std::max(widths.size(), row.size()));
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], CountCharacters(row[i]));
  }
  std::string text;
  for (const auto& row : rows_) {
    for (size_t i = 0; i < row.size(); ++i) {
      absl::StrAppend(&text, row[i]);
      if (i + 1 < row.size()) text.append(widths[i] - CountCharacters(row[i]) + kGap, ' ');
    }
    text += '\n';
  }
  return text;
}

size_t CountCharacters(absl::string_view text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), BeginsCharacter));
}

std::string CutToCharacters(absl::string_view text, size_t limit) {
  if (CountCharacters(text) <= limit) return std::string(text);
  if (limit == 0) return "";
  size_t end = 0;
  for (size_t characters = 0; end < text.size(); ++end) {
    if (BeginsCharacter(text[end]) && ++characters == limit) break;
  }
  return absl::StrCat(text.substr(0, end), "…");
}

}  // namespace jobpool::cli
