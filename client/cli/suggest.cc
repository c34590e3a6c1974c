#include "client/cli/suggest.h"

#include <algorithm>
#include <cstddef>

#include "absl/strings/str_cat.h"

namespace jobpool::cli {

size_t EditDistance(absl::string_view a, absl::string_view b) {
  // rows[i][j]: from the first i bytes of a to the first j of b.
  std::vector<std::vector<size_t>> rows(a.size() + 1, std::vector<size_t>(b.size() + 1));
  for (size_t i = 0; i <= a.size(); ++i) {
    for (size_t j = 0; j <= b.size(); ++j) {
      if (i == 0 || j == 0) {
        rows[i][j] = i + j;
        continue;
      }
      const size_t change = a[i - 1] == b[j - 1] ? 0 : 1;
      rows[i][j] = std::min({rows[i - 1][j] + 1, rows[i][j - 1] + 1, rows[i - 1][j - 1] + change});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        rows[i][j] = std::min(rows[i][j], rows[i - 2][j - 2] + 1);
      }
    }
  }
  return rows[a.size()][b.size()];
}

std::string DidYouMean(absl::string_view typed, const std::vector<std::string>& words) {
  constexpr size_t kLongest = 64;  // of a word that somebody may have meant
  if (typed.size() > kLongest) return "";
  size_t best = std::max<size_t>(1, typed.size() / 3) + 1;
  std::string text;
  for (const std::string& word : words) {
    const size_t distance = EditDistance(typed, word);
    if (distance >= best) continue;
    best = distance;
    text = absl::StrCat("; did you mean '", word, "'?");
  }
  return text;
}

}  // namespace jobpool::cli
