#pragma once

#include <string>

#include <google/protobuf/message.h>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace jobpool::cli {

/// How a command shows what the server answered.
enum class OutputFormat {
  kTable,  // for people
  kJson,   // the answer, as canonical proto3 JSON
  kName    // one resource name a line, for scripts
};

/// Of `json` and `name`; anything else is a table.
OutputFormat ParseOutputFormat(absl::string_view text);

/// Canonical proto3 JSON of `message` with whitespace, and a newline at the end.
absl::StatusOr<std::string> ToJson(const google::protobuf::Message& message);

/// `text` on standard output, which is data. Nothing is lost silently: see
/// FlushOutput. Not thread-safe.
void Print(absl::string_view text);

/// Whether standard output is a terminal that shows colours and whose user did not
/// forbid them with NO_COLOR (no-color.org).
bool OutputShowsColours();

/// `text` on standard error. Failures are ignored.
void PrintError(absl::string_view text);

/// Whether all that was printed has been written.
absl::Status FlushOutput();

}  // namespace jobpool::cli
