// `echo`.

#include <iostream>
#include <memory>
#include <string>
#include <unistd.h>

#include <CLI/CLI.hpp>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "client/cli/commands.h"
#include "jobpool/printable.h"

namespace jobpool::cli {
namespace {

constexpr absl::string_view kPrompt = ">>>: ";

ExitStatus PrintAnswer(const Session& session, const v1::UppercaseTextResponse& answer) {
  if (session.format == OutputFormat::kJson) return PrintJson(answer);
  // A terminal would obey what a pipe only passes on.
  Print(absl::StrCat(isatty(STDOUT_FILENO) == 1 ? Printable(answer.text()) : answer.text(), "\n"));
  return ExitStatus::kDone;
}

ExitStatus Echo(Session& session) {
  const absl::StatusOr<std::unique_ptr<EchoCall>> call = session.client.UppercaseText();
  if (!call.ok()) return Report(call.status());
  const bool prompts = isatty(STDIN_FILENO) == 1;
  std::string line;
  while (true) {
    if (prompts) Print(kPrompt);
    if (const absl::Status written = FlushOutput(); !written.ok()) return Report(written);
    if (!std::getline(std::cin, line)) break;
    if (absl::StripAsciiWhitespace(line).empty()) continue;
    if (!IsUtf8(line)) return ReportUsage(absl::StrCat("line is not UTF-8: ", line), "jobpool echo");
    const absl::StatusOr<v1::UppercaseTextResponse> answer = (*call)->Say(line);
    if (!answer.ok()) return Report(answer.status());
    if (const ExitStatus printed = PrintAnswer(session, *answer); printed != ExitStatus::kDone)
      return printed;
  }
  if (prompts) Print("\n");  // where ^D left the prompt
  const absl::Status ended = (*call)->End();
  return ended.ok() ? ExitStatus::kDone : Report(ended);
}

}  // namespace

void AddEchoCommand(CLI::App& app, Command& chosen) {
  AddCommand(
      app, "echo", "Send each line of the input, print what comes back: the line in upper case",
      "Blank lines are passed over. Ends at the end of the input.\n\nExample:\n  echo hello | jobpool echo")
      ->callback([&chosen] { chosen = Echo; });
}

}  // namespace jobpool::cli
