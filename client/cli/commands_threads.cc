// `threads list|get|rename|count`, and `active-count`.

#include <cstdint>
#include <memory>
#include <utility>

#include <CLI/CLI.hpp>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/cli/commands.h"
#include "client/cli/thread_text.h"
#include "client/cli/work_args.h"

namespace jobpool::cli {
namespace {

constexpr int32_t kLargestPage = 10000;  // that ListThreads gives: one snapshot, where it is enough

ExitStatus ListThreads(Session& session, bool include_os_threads) {
  v1::ListThreadsRequest request;
  request.set_page_size(kLargestPage);
  request.set_include_os_threads(include_os_threads);
  const absl::StatusOr<v1::ListThreadsResponse> response = AllPages(
      request, [&](const v1::ListThreadsRequest& page) { return session.client.ListThreads(page, Soon()); });
  if (!response.ok()) return Report(response.status());
  switch (session.format) {
    case OutputFormat::kJson:
      return PrintJson(*response);
    case OutputFormat::kName:
      for (const v1::Thread& thread : response->threads()) Print(absl::StrCat(thread.name(), "\n"));
      break;
    case OutputFormat::kTable:
      Print(ThreadsTable(*response, absl::Now()));
      break;
  }
  return ExitStatus::kDone;
}

ExitStatus PrintThread(const Session& session, const absl::StatusOr<v1::Thread>& thread) {
  if (!thread.ok()) return Report(thread.status());
  switch (session.format) {
    case OutputFormat::kJson:
      return PrintJson(*thread);
    case OutputFormat::kName:
      Print(absl::StrCat(thread->name(), "\n"));
      break;
    case OutputFormat::kTable:
      Print(ThreadDetails(*thread));
      break;
  }
  return ExitStatus::kDone;
}

ExitStatus GetThread(Session& session, const std::string& name) {
  v1::GetThreadRequest request;
  request.set_name(ResourceName("threads", name));
  return PrintThread(session, session.client.GetThread(request, Soon()));
}

ExitStatus RenameThread(Session& session, const std::string& name, const std::string& display_name) {
  v1::UpdateThreadRequest request;
  request.mutable_thread()->set_name(ResourceName("threads", name));
  request.mutable_thread()->set_display_name(display_name);
  request.mutable_update_mask()->add_paths("display_name");
  return PrintThread(session, session.client.UpdateThread(request, Soon()));
}

/// The bare number, for scripts; the rest of the answer is for -o json.
ExitStatus CountThreads(Session& session) {
  const absl::StatusOr<v1::GetActiveCountResponse> response =
      session.client.GetActiveCount(v1::GetActiveCountRequest(), Soon());
  if (!response.ok()) return Report(response.status());
  if (session.format == OutputFormat::kJson) return PrintJson(*response);
  Print(absl::StrCat(response->active_count(), "\n"));
  return ExitStatus::kDone;
}

void AddCount(CLI::App& parent, Command& chosen, const std::string& name, const std::string& description,
              const std::string& footer) {
  AddCommand(parent, name, description, footer)->callback([&chosen] { chosen = CountThreads; });
}

}  // namespace

void AddThreadsCommands(CLI::App& app, Command& chosen) {
  CLI::App* threads = AddCommand(app, "threads", "Roll call: look at the server's threads; alone: list",
                                 "Example:\n  jobpool threads list --os");
  threads->preparse_callback(
      [&chosen](size_t) { chosen = [](Session& session) { return ListThreads(session, false); }; });

  CLI::App* list = AddCommand(*threads, "list", "List the threads that have started and not ended",
                              "Example:\n  jobpool threads list --os");
  auto os = std::make_shared<bool>(false);
  list->add_flag("--os", *os, "Also the libraries' threads, which are not counted");
  list->callback([os, &chosen] { chosen = [os](Session& session) { return ListThreads(session, *os); }; });

  CLI::App* get = AddCommand(*threads, "get", "Show all about a thread", "Example:\n  jobpool threads get 2");
  auto name = std::make_shared<std::string>();
  AddNames(*get, *name, "threads", "Thread: threads/ID, or the bare ID");
  get->callback([name, &chosen] { chosen = [name](Session& session) { return GetThread(session, *name); }; });

  CLI::App* rename = AddCommand(*threads, "rename", "Give a running thread another name, also for `top -H`",
                                "Example:\n  jobpool threads rename 2 monitor");
  auto names = std::make_shared<std::pair<std::string, std::string>>();
  AddNames(*rename, names->first, "threads", "Thread: threads/ID, or the bare ID");
  rename->add_option("NEW", names->second, "Its new display name")->required()->option_text(" ");
  rename->callback([names, &chosen] {
    chosen = [names](Session& session) { return RenameThread(session, names->first, names->second); };
  });

  AddCount(*threads, chosen, "count", "Print how many threads `list` would list",
           "By role: -o json.\n\nExample:\n  jobpool threads count");
  AddCount(app, chosen, "active-count", "The same as `threads count`",
           "By role: -o json.\n\nExample:\n  jobpool active-count");
}

}  // namespace jobpool::cli
