#pragma once

#include <string>

#include "absl/strings/string_view.h"
#include "server/process/program.h"

namespace jobpool {

/// How a program has failed.
struct ProgramFailure {
  /// In a line of printable text: how it ended, which of its fences it has reached, as far as
  /// that can be known or as its last words, the end of its stderr, say so; and some of these.
  std::string text;
  /// The fence: `memory`, `cpu`, `file_size` or `open_files`; empty: none that is known.
  std::string limit;
};

/// REQUIRES: it did not exit with status 0.
ProgramFailure FailureOf(const ProgramEnd& end, const Fences& fences, absl::string_view last_words);

/// The last lines of `bytes`, about 500 bytes, in one line, without what is not printable.
std::string LastLines(absl::string_view bytes);

}  // namespace jobpool
