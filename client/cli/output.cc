#include "client/cli/output.h"

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <unistd.h>

#include <google/protobuf/util/json_util.h>

#include "absl/strings/str_cat.h"

namespace jobpool::cli {

OutputFormat ParseOutputFormat(absl::string_view text) {
  if (text == "json") return OutputFormat::kJson;
  if (text == "name") return OutputFormat::kName;
  return OutputFormat::kTable;
}

absl::StatusOr<std::string> ToJson(const google::protobuf::Message& message) {
  google::protobuf::util::JsonPrintOptions options;
  options.add_whitespace = true;
  std::string json;
  const auto status = google::protobuf::util::MessageToJsonString(message, &json, options);
  if (!status.ok()) {
    return absl::InternalError(absl::StrCat("the answer cannot be written as JSON: ", status.ToString()));
  }
  if (json.empty() || json.back() != '\n') json += '\n';
  return json;
}

void Print(absl::string_view text) { std::fwrite(text.data(), 1, text.size(), stdout); }

bool OutputShowsColours() {
  const char* term = std::getenv("TERM");
  const char* no_color = std::getenv("NO_COLOR");
  return isatty(STDOUT_FILENO) == 1 && term != nullptr && absl::string_view(term) != "dumb" &&
         (no_color == nullptr || *no_color == '\0');
}

void PrintError(absl::string_view text) {
  std::fflush(stdout);  // so that both stay in order where they go to one place
  std::fwrite(text.data(), 1, text.size(), stderr);
  std::fflush(stderr);
}

absl::Status FlushOutput() {
  errno = 0;
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return absl::OkStatus();
  return absl::ErrnoToStatus(errno != 0 ? errno : EIO, "cannot write to standard output");
}

}  // namespace jobpool::cli
