#pragma once

#include <cstddef>
#include <string>

#include "absl/strings/string_view.h"

namespace jobpool::cli {

/// A line at the bottom of standard error that is drawn again and again, where that is a terminal. It has no
/// colour. Failures to write are ignored. Not thread-safe.
class StatusLine {
 public:
  /// Looks at standard error and at TERM.
  StatusLine();
  /// Clears the line.
  ~StatusLine();
  StatusLine(const StatusLine&) = delete;
  StatusLine& operator=(const StatusLine&) = delete;

  /// Whether there is a terminal.
  bool shows() const { return shows_; }
  /// How many columns a line may have now.
  size_t Columns() const;
  /// Draws `text`, which has fewer than Columns(), in place of what was there. REQUIRES: shows()
  void Draw(absl::string_view text);
  /// Takes the line off the terminal, for something else to be written there.
  void Clear();

 private:
  const bool shows_;    // constant after construction
  bool drawn_ = false;  // whether the line is on the terminal
};

}  // namespace jobpool::cli
