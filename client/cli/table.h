#pragma once

#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace jobpool::cli {

/// Columns aligned by spaces. Each character counts as one cell wide, which is
/// not so for some of East Asia's and for emoji. Values are escaped (see
/// jobpool/printable.h); an empty one shows as `-`.
class Table {
 public:
  /// With `headers` as its first line; without any, one is not shown.
  explicit Table(std::vector<std::string> headers = {});

  /// Cells from left to right, as many in each row.
  void AddRow(std::vector<std::string> cells);

  /// Lines that end with a newline, without spaces before it.
  std::string ToString() const;

 private:
  std::vector<std::vector<std::string>> rows_;
};

/// The characters of `text`, which is well-formed UTF-8.
size_t CountCharacters(absl::string_view text);

/// `text`, which is well-formed UTF-8, in at most `limit` characters; the last
/// of them is `…` where something was cut.
std::string CutToCharacters(absl::string_view text, size_t limit);

}  // namespace jobpool::cli
