#pragma once

#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace jobpool::cli {

/// How many characters to add, take away, change or swap with their neighbour to
/// make `b` of `a` (optimal string alignment distance). Counts bytes.
size_t EditDistance(absl::string_view a, absl::string_view b);

/// `; did you mean 'list'?` with the word that `typed` is most like; empty where
/// none is like it: more than a third of it differs.
std::string DidYouMean(absl::string_view typed, const std::vector<std::string>& words);

}  // namespace jobpool::cli
