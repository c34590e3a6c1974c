#include "client/cli/command.h"

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/cli/work_args.h"
#include "jobpool/errors.h"
#include "jobpool/printable.h"

namespace jobpool::cli {

CallOptions Soon() { return {.deadline = absl::Now() + kCallTimeout}; }

ExitStatus Report(const absl::Status& status) {
  PrintError(FormatError(status));
  return ExitStatusOf(status);
}

std::string UsageText(absl::string_view message, absl::string_view command) {
  return absl::StrCat("error: ", Printable(message), "\nTry '", command, " --help'.\n");
}

ExitStatus ReportUsage(absl::string_view message, absl::string_view command) {
  PrintError(UsageText(message, command));
  return ExitStatus::kUsage;
}

ExitStatus PrintJson(const google::protobuf::Message& message) {
  const absl::StatusOr<std::string> json = ToJson(message);
  if (!json.ok()) return Report(json.status());
  Print(*json);
  return ExitStatus::kDone;
}

ExitStatus ForEachName(absl::string_view collection, const std::vector<std::string>& names,
                       const std::function<absl::Status(const std::string& name)>& call) {
  ExitStatus first = ExitStatus::kDone;
  for (const std::string& name : names) {
    const absl::Status status = call(ResourceName(collection, name));
    if (status.ok()) continue;
    const ExitStatus exit_status = Report(status);
    if (first == ExitStatus::kDone) first = exit_status;
    if (absl::IsUnavailable(status)) break;
  }
  return first;
}

}  // namespace jobpool::cli
