#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace jobpool::cli {

/// Columns aligned by spaces. Values are escaped (see jobpool/printable.h); an
/// empty one shows as `-`.
class Table {
 public:
  /// With `headers` as its first line; without any, one is not shown.
  explicit Table(std::vector<std::string> headers = {});

  /// Cells from left to right, as many in each row.
  void AddRow(std::vector<std::string> cells);

  /// The values of that column, counted from 0, that are states of jobs, threads or pools
  /// get colours where standard output shows them.
  void SetStateColumn(size_t column) { state_column_ = column; }

  /// Lines that end with a newline, without spaces before it. `header`: whether
  /// that is one of them; the columns are as wide in any case.
  std::string ToString(bool header = true) const;

 private:
  const bool has_header_;
  size_t state_column_ = SIZE_MAX;
  std::vector<std::vector<std::string>> rows_;
};

/// How many columns of a terminal `text`, which is well-formed UTF-8, takes:
/// characters of East Asia and emoji take two, combining ones none.
size_t DisplayWidth(absl::string_view text);

/// `text`, which is well-formed UTF-8, in at most `limit` columns; the last of
/// them is `…` where something was cut.
std::string CutToWidth(absl::string_view text, size_t limit);

}  // namespace jobpool::cli
