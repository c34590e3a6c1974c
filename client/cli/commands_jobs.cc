// `jobs list|get|cancel|delete|rename`.

#include <cstdint>
#include <memory>

#include <CLI/CLI.hpp>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/cli/commands.h"
#include "client/cli/job_text.h"
#include "client/cli/work_args.h"

namespace jobpool::cli {
namespace {

constexpr int32_t kLargestPage = 1000;  // that ListJobs gives

struct ListArgs {
  int32_t page_size = 0;
  std::string page_token;
  bool all = false;
};

ExitStatus ListJobs(Session& session, const ListArgs& args) {
  v1::ListJobsRequest request;
  request.set_page_size(args.page_size == 0 && args.all ? kLargestPage : args.page_size);
  request.set_page_token(args.page_token);
  const auto call = [&](const v1::ListJobsRequest& page) { return session.client.ListJobs(page, Soon()); };
  const absl::StatusOr<v1::ListJobsResponse> response = args.all ? AllPages(request, call) : call(request);
  if (!response.ok()) return Report(response.status());
  switch (session.format) {
    case OutputFormat::kJson:
      return PrintJson(*response);
    case OutputFormat::kName:
      for (const v1::Job& job : response->jobs()) Print(absl::StrCat(job.name(), "\n"));
      break;
    case OutputFormat::kTable:
      Print(JobsTable(response->jobs(), absl::Now()));
      break;
  }
  if (session.format == OutputFormat::kTable && !response->next_page_token().empty()) {
    PrintError(absl::StrCat("more: --all, or --page-token '", response->next_page_token(), "'\n"));
  }
  return ExitStatus::kDone;
}

/// Of one or several jobs that a call each has answered with: a message each, or
/// one table.
ExitStatus PrintJobs(const Session& session, const Jobs& jobs) {
  ExitStatus status = ExitStatus::kDone;
  for (const v1::Job& job : jobs) {
    if (session.format == OutputFormat::kName) Print(absl::StrCat(job.name(), "\n"));
    if (session.format == OutputFormat::kJson) status = PrintJson(job);
    if (status != ExitStatus::kDone) return status;
  }
  if (session.format == OutputFormat::kTable && !jobs.empty()) Print(JobsTable(jobs, absl::Now()));
  return status;
}

/// Calls once for each name and prints the jobs that came back.
ExitStatus CallForJobs(Session& session, const std::vector<std::string>& names,
                       const std::function<absl::StatusOr<v1::Job>(const std::string&)>& call) {
  Jobs jobs;
  const ExitStatus status = ForEachName("jobs", names, [&](const std::string& name) {
    absl::StatusOr<v1::Job> job = call(name);
    if (job.ok()) *jobs.Add() = *std::move(job);
    return job.status();
  });
  const ExitStatus printed = PrintJobs(session, jobs);
  return status == ExitStatus::kDone ? printed : status;
}

ExitStatus GetJobs(Session& session, const std::vector<std::string>& names) {
  const auto get = [&](const std::string& name) {
    v1::GetJobRequest request;
    request.set_name(name);
    return session.client.GetJob(request, Soon());
  };
  if (session.format != OutputFormat::kTable) return CallForJobs(session, names, get);
  bool first = true;
  return ForEachName("jobs", names, [&](const std::string& name) {
    const absl::StatusOr<v1::Job> job = get(name);
    if (job.ok()) Print(absl::StrCat(first ? "" : "\n", JobDetails(*job)));
    first = first && !job.ok();
    return job.status();
  });
}

ExitStatus CancelJobs(Session& session, const std::vector<std::string>& names) {
  return CallForJobs(session, names, [&](const std::string& name) {
    v1::CancelJobRequest request;
    request.set_name(name);
    return session.client.CancelJob(request, Soon());
  });
}

ExitStatus DeleteJobs(Session& session, const std::vector<std::string>& names) {
  return ForEachName("jobs", names, [&](const std::string& name) {
    v1::DeleteJobRequest request;
    request.set_name(name);
    const absl::StatusOr<google::protobuf::Empty> deleted = session.client.DeleteJob(request, Soon());
    if (!deleted.ok()) return deleted.status();
    if (session.format == OutputFormat::kJson) {
      PrintJson(*deleted);
    } else {
      Print(absl::StrCat(name, "\n"));
    }
    return absl::OkStatus();
  });
}

ExitStatus RenameJob(Session& session, const std::string& name, const std::string& display_name) {
  return CallForJobs(session, {name}, [&](const std::string& full_name) {
    v1::UpdateJobRequest request;
    request.mutable_job()->set_name(full_name);
    request.mutable_job()->set_display_name(display_name);
    request.mutable_update_mask()->add_paths("display_name");
    return session.client.UpdateJob(request, Soon());
  });
}

/// Adds a subcommand that takes one or several names.
void AddNamesCommand(CLI::App& jobs, Command& chosen, const std::string& name, const std::string& description,
                     const std::string& footer,
                     ExitStatus (*run)(Session&, const std::vector<std::string>& names)) {
  CLI::App* command = AddCommand(jobs, name, description, footer);
  auto names = std::make_shared<std::vector<std::string>>();
  AddNames(*command, *names, "Jobs: jobs/ID, or the bare ID");
  command->callback(
      [names, run, &chosen] { chosen = [names, run](Session& session) { return run(session, *names); }; });
}

}  // namespace

void AddJobsCommands(CLI::App& app, Command& chosen) {
  CLI::App* jobs = AddCommand(app, "jobs", "Look at jobs, cancel, rename and delete them; alone: list",
                              "Example:\n  jobpool jobs list --all");
  jobs->preparse_callback(
      [&chosen](size_t) { chosen = [](Session& session) { return ListJobs(session, ListArgs()); }; });

  CLI::App* list = AddCommand(*jobs, "list", "List jobs, newest first, without their results",
                              "Example:\n  jobpool -o name jobs list --all");
  auto list_args = std::make_shared<ListArgs>();
  list->add_option("--page-size", list_args->page_size, "Jobs at most; default 50, at most 1000")
      ->option_text("N");
  list->add_option("--page-token", list_args->page_token, "Go on after the page that gave it")
      ->option_text("TOKEN");
  list->add_flag("--all", list_args->all, "All pages, as one");
  list->callback([list_args, &chosen] {
    chosen = [list_args](Session& session) { return ListJobs(session, *list_args); };
  });

  AddNamesCommand(*jobs, chosen, "get", "Show all about jobs, with their results",
                  "Example:\n  jobpool jobs get jobs/j6h0822kqc46cv0", GetJobs);
  AddNamesCommand(*jobs, chosen, "cancel", "Ask jobs to end early; does not wait for it",
                  "Example:\n  jobpool jobs cancel jobs/j6h0822kqc46cv0", CancelJobs);
  AddNamesCommand(*jobs, chosen, "delete", "Forget ended jobs",
                  "Example:\n  jobpool jobs delete jobs/j6h0822kqc46cv0", DeleteJobs);

  CLI::App* rename = AddCommand(*jobs, "rename", "Give a job that has not ended another display name",
                                "Example:\n  jobpool jobs rename jobs/j6h0822kqc46cv0 'Nightly count'");
  auto names = std::make_shared<std::pair<std::string, std::string>>();
  AddNames(*rename, names->first, "Job: jobs/ID, or the bare ID");
  rename->add_option("NEW", names->second, "Its new display name")->required()->option_text(" ");
  rename->callback([names, &chosen] {
    chosen = [names](Session& session) { return RenameJob(session, names->first, names->second); };
  });
}

}  // namespace jobpool::cli
