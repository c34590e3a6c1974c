#include "client/cli/program_output.h"

#include <string>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "client/cli/output.h"
#include "jobpool/printable.h"

namespace jobpool::cli {
namespace {

std::string For(int descriptor, const std::string& bytes) {
  return isatty(descriptor) == 1 ? Printable(bytes) : bytes;
}

void SayIfTruncated(bool truncated, const char* stream, size_t bytes) {
  if (truncated) PrintError(absl::StrCat("warning: ", stream, " is cut off after ", bytes, " bytes\n"));
}

}  // namespace

void PrintProgramOutput(const v1::CommandResult& result) {
  Print(For(STDOUT_FILENO, result.stdout()));
  PrintError(For(STDERR_FILENO, result.stderr()));
  SayIfTruncated(result.stdout_truncated(), "stdout", result.stdout().size());
  SayIfTruncated(result.stderr_truncated(), "stderr", result.stderr().size());
}

}  // namespace jobpool::cli
