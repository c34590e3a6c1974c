#pragma once

#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "client/cli/exit_status.h"
#include "client/cli/output.h"
#include "jobpool/client.h"

// What all commands have in common.

namespace jobpool::cli {

/// What a command works with. Does not own the client, which outlives it.
struct Session {
  Client& client;
  OutputFormat format;
};

/// A command with its arguments. Prints what it has to say, and gives the exit
/// status.
using Command = std::function<ExitStatus(Session&)>;

/// How long a call that does not wait may take before it counts as unanswered.
inline constexpr absl::Duration kCallTimeout = absl::Seconds(30);

/// For a call that does not wait: `kCallTimeout` from now.
CallOptions Soon();

/// Prints the error and gives the exit status for it. REQUIRES: !status.ok()
ExitStatus Report(const absl::Status& status);

/// What is wrong with the command line, and where to find help: `command` is
/// `jobpool`, `jobpool run`, …
std::string UsageText(absl::string_view message, absl::string_view command);

/// Prints UsageText as an error.
ExitStatus ReportUsage(absl::string_view message, absl::string_view command);

/// Prints a message as JSON.
ExitStatus PrintJson(const google::protobuf::Message& message);

/// Calls `call` with each of `names` as the name of a resource of `collection`,
/// and reports what fails. Goes on after an error, unless the server cannot be
/// reached; gives the exit status of the first one.
ExitStatus ForEachName(absl::string_view collection, const std::vector<std::string>& names,
                       const std::function<absl::Status(const std::string& name)>& call);

/// Follows `next_page_token` from `request` to the last page, and gives all pages
/// as one response. `call` makes one call.
template <typename Request, typename Call>
auto AllPages(Request request, Call call) -> decltype(call(request)) {
  auto all = call(request);
  while (all.ok() && !all->next_page_token().empty()) {
    request.set_page_token(all->next_page_token());
    auto page = call(request);
    if (!page.ok()) return page;
    all->clear_next_page_token();
    all->MergeFrom(*page);
  }
  return all;
}

}  // namespace jobpool::cli
