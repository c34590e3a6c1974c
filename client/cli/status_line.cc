#include "client/cli/status_line.h"

#include <cstdlib>
#include <sys/ioctl.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "client/cli/output.h"

namespace jobpool::cli {
namespace {

constexpr absl::string_view kClearLine = "\r\x1b[K";  // ECMA-48 erase in line

bool IsTerminal() {
  const char* term = std::getenv("TERM");
  return isatty(STDERR_FILENO) == 1 && term != nullptr && absl::string_view(term) != "dumb";
}

}  // namespace

StatusLine::StatusLine() : shows_(IsTerminal()) {}

StatusLine::~StatusLine() { Clear(); }

size_t StatusLine::Columns() const {
  winsize size{};
  return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

void StatusLine::Draw(absl::string_view text) {
  PrintError(absl::StrCat(kClearLine, text));
  drawn_ = true;
}

void StatusLine::Clear() {
  if (drawn_) PrintError(kClearLine);
  drawn_ = false;
}

}  // namespace jobpool::cli
