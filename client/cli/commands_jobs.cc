// `jobs list|get|cancel|delete|rename`; `jobs watch` is in commands_watch.cc.

#include <cstdint>
#include <memory>

#include <CLI/CLI.hpp>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/cli/commands.h"
#include "client/cli/job_output.h"
#include "client/cli/job_text.h"
#include "client/cli/work_args.h"

namespace jobpool::cli {
namespace {

constexpr int32_t kLargestPage = 1000;  // that ListJobs gives

/// What `list` was given.
struct ListArgs {
  int32_t page_size = 0;
  std::string page_token = {};
  std::string filter = {};
  std::string order_by = {};
  bool all = false;
};

v1::ListJobsRequest FirstPage(const ListArgs& args) {
  v1::ListJobsRequest request;
  request.set_page_size(args.page_size == 0 && args.all ? kLargestPage : args.page_size);
  request.set_page_token(args.page_token);
  request.set_filter(args.filter);
  request.set_order_by(args.order_by);
  return request;
}

/// Gives `see` page after page, from `request` to the last; until it says false.
absl::Status ForEachPage(Session& session, v1::ListJobsRequest request,
                         const std::function<bool(const v1::ListJobsResponse&)>& see) {
  while (true) {
    const absl::StatusOr<v1::ListJobsResponse> page = session.client.ListJobs(request, Soon());
    if (!page.ok()) return page.status();
    if (!see(*page) || page->next_page_token().empty()) return absl::OkStatus();
    request.set_page_token(page->next_page_token());
  }
}

/// JSON is one message, and so waits for the last page.
ExitStatus ListJobsAsJson(Session& session, const ListArgs& args) {
  const auto call = [&](const v1::ListJobsRequest& page) { return session.client.ListJobs(page, Soon()); };
  const v1::ListJobsRequest request = FirstPage(args);
  const absl::StatusOr<v1::ListJobsResponse> response = args.all ? AllPages(request, call) : call(request);
  return response.ok() ? PrintJson(*response) : Report(response.status());
}

ExitStatus ListJobs(Session& session, const ListArgs& args) {
  if (session.format == OutputFormat::kJson) return ListJobsAsJson(session, args);
  bool first = true;
  std::string more;
  const absl::Status listed = ForEachPage(session, FirstPage(args), [&](const v1::ListJobsResponse& page) {
    if (session.format == OutputFormat::kTable) {
      Print(JobsTable(page.jobs(), absl::Now(), /*header=*/first));
    } else {
      for (const v1::Job& job : page.jobs()) Print(absl::StrCat(job.name(), "\n"));
    }
    first = false;
    more = page.next_page_token();
    return args.all && FlushOutput().ok();
  });
  if (!listed.ok()) return Report(listed);
  if (session.format == OutputFormat::kTable && !args.all && !more.empty()) {
    PrintError(absl::StrCat("more: --all, or --page-token '", more, "'\n"));
  }
  return ExitStatus::kDone;
}

/// What the commands that take names were given.
struct NamesArgs {
  std::vector<std::string> names;
  bool all = false;
};

ExitStatus GetJobs(Session& session, const NamesArgs& args) {
  const auto get = [&](const std::string& name) {
    v1::GetJobRequest request;
    request.set_name(name);
    return session.client.GetJob(request, Soon());
  };
  if (session.format != OutputFormat::kTable) return CallForJobs(session, args.names, get);
  bool first = true;
  return ForEachName("jobs", args.names, [&](const std::string& name) {
    const absl::StatusOr<v1::Job> job = get(name);
    if (job.ok()) Print(absl::StrCat(first ? "" : "\n", JobDetails(*job)));
    first = first && !job.ok();
    return job.status();
  });
}

/// What `cancel` and `delete` do to one job; the job as it stands then, or its
/// name alone.
using JobCall = std::function<absl::StatusOr<v1::Job>(const std::string& name)>;

JobCall CancelCall(Session& session) {
  return [&session](const std::string& name) {
    v1::CancelJobRequest request;
    request.set_name(name);
    return session.client.CancelJob(request, Soon());
  };
}

JobCall DeleteCall(Session& session) {
  return [&session](const std::string& name) -> absl::StatusOr<v1::Job> {
    v1::DeleteJobRequest request;
    request.set_name(name);
    const absl::StatusOr<google::protobuf::Empty> deleted = session.client.DeleteJob(request, Soon());
    if (!deleted.ok()) return deleted.status();
    v1::Job job;
    job.set_name(name);
    return job;
  };
}

/// Calls for every job that has ended, or for every one that has not. A job that
/// came to its end, or was deleted, in the meantime is passed over.
ExitStatus CallForAll(Session& session, bool ended, const JobCall& call, v1::ListJobsResponse& called) {
  ExitStatus status = ExitStatus::kDone;
  const auto see = [&](const v1::ListJobsResponse& page) {
    for (const v1::Job& job : page.jobs()) {
      if (HasEnded(job) != ended) continue;
      absl::StatusOr<v1::Job> done = call(job.name());
      if (done.ok()) {
        if (session.format == OutputFormat::kName) Print(absl::StrCat(job.name(), "\n"));
        *called.add_jobs() = *std::move(done);
      } else if (!absl::IsNotFound(done.status()) && !absl::IsFailedPrecondition(done.status())) {
        status = Report(done.status());
        if (absl::IsUnavailable(done.status())) return false;
      }
    }
    return true;
  };
  const absl::Status listed = ForEachPage(session, FirstPage({.all = true}), see);
  return listed.ok() ? status : Report(listed);
}

ExitStatus CancelJobs(Session& session, const NamesArgs& args) {
  if (!args.all) return CallForJobs(session, args.names, CancelCall(session));
  v1::ListJobsResponse cancelled;
  const ExitStatus status = CallForAll(session, /*ended=*/false, CancelCall(session), cancelled);
  if (session.format == OutputFormat::kJson) PrintJson(cancelled);
  if (session.format == OutputFormat::kTable) {
    Print(absl::StrCat("asked ", cancelled.jobs_size(), " jobs to end\n"));
  }
  return status;
}

ExitStatus DeleteJobs(Session& session, const NamesArgs& args) {
  const JobCall call = DeleteCall(session);
  if (args.all) {
    v1::ListJobsResponse deleted;
    const ExitStatus status = CallForAll(session, /*ended=*/true, call, deleted);
    if (session.format == OutputFormat::kJson) PrintJson(google::protobuf::Empty());
    if (session.format == OutputFormat::kTable)
      Print(absl::StrCat("deleted ", deleted.jobs_size(), " jobs\n"));
    return status;
  }
  return ForEachName("jobs", args.names, [&](const std::string& name) {
    const absl::StatusOr<v1::Job> deleted = call(name);
    if (!deleted.ok()) return deleted.status();
    if (session.format == OutputFormat::kJson) {
      PrintJson(google::protobuf::Empty());
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

/// Adds a subcommand that takes one or several names; or, where `all` says what
/// that would do, --all instead.
void AddNamesCommand(CLI::App& jobs, Command& chosen, const std::string& name, const std::string& description,
                     const std::string& footer, const std::string& all,
                     ExitStatus (*run)(Session&, const NamesArgs& args)) {
  CLI::App* command = AddCommand(jobs, name, description, footer);
  auto args = std::make_shared<NamesArgs>();
  CLI::Option* names = AddNames(*command, args->names, "jobs", "Jobs: jobs/ID, or the bare ID");
  if (!all.empty()) {
    names->required(false)->excludes(command->add_flag("--all", args->all, all));
  }
  command->callback([args, run, &chosen] {
    if (args->names.empty() && !args->all) throw CLI::RequiredError("NAME or --all");
    chosen = [args, run](Session& session) { return run(session, *args); };
  });
}

}  // namespace

void AddJobsCommands(CLI::App& app, Command& chosen) {
  CLI::App* jobs =
      AddCommand(app, "jobs", "Look at jobs, watch, change, cancel, retry and delete them; alone: list",
                 "Example:\n  jobpool jobs list --all");
  jobs->preparse_callback(
      [&chosen](size_t) { chosen = [](Session& session) { return ListJobs(session, ListArgs()); }; });

  CLI::App* list = AddCommand(
      *jobs, "list", "List jobs, newest first, without their results",
      "A filter compares fields (=, !=, <, <=, >, >=, :), joined by AND, OR, NOT and parentheses:\n"
      "state, kind, pool, priority, labels.KEY, display_name, retry_of, daemon, create_time,\n"
      "start_time, end_time, expire_time, schedule_time, deadline_time.\n"
      "\nExamples:\n  jobpool -o name jobs list --all\n"
      "  jobpool jobs list --filter 'state = FAILED AND labels.team = \"a\"' --order-by 'end_time desc'");
  auto list_args = std::make_shared<ListArgs>();
  list->add_option("--page-size", list_args->page_size, "Jobs at most; default 50, at most 1000")
      ->option_text("N");
  list->add_option("--page-token", list_args->page_token, "Go on after the page that gave it")
      ->option_text("TOKEN");
  list->add_option("--filter", list_args->filter, "Which jobs, see below; default: all")
      ->option_text("FILTER");
  list->add_option("--order-by", list_args->order_by, "FIELD [desc], …; default 'create_time desc'")
      ->option_text("ORDER");
  list->add_flag("--all", list_args->all, "All pages, as one");
  list->callback([list_args, &chosen] {
    chosen = [list_args](Session& session) { return ListJobs(session, *list_args); };
  });

  AddNamesCommand(*jobs, chosen, "get", "Show all about jobs, with their results",
                  "Example:\n  jobpool jobs get jobs/j6h0822kqc46cv0", "", GetJobs);
  AddNamesCommand(*jobs, chosen, "cancel", "Ask jobs to end early; does not wait for it",
                  "Example:\n  jobpool jobs cancel jobs/j6h0822kqc46cv0", "Every job that has not ended",
                  CancelJobs);
  AddNamesCommand(*jobs, chosen, "delete", "Forget ended jobs",
                  "Example:\n  jobpool jobs delete jobs/j6h0822kqc46cv0", "Every job that has ended",
                  DeleteJobs);

  AddWatchCommand(*jobs, chosen);

  CLI::App* rename = AddCommand(*jobs, "rename", "Give a job that has not ended another display name",
                                "Example:\n  jobpool jobs rename jobs/j6h0822kqc46cv0 'Nightly count'");
  auto names = std::make_shared<std::pair<std::string, std::string>>();
  AddNames(*rename, names->first, "jobs", "Job: jobs/ID, or the bare ID");
  rename->add_option("NEW", names->second, "Its new display name")->required()->option_text(" ");
  rename->callback([names, &chosen] {
    chosen = [names](Session& session) { return RenameJob(session, names->first, names->second); };
  });

  AddJobControlCommands(*jobs, chosen);
}

}  // namespace jobpool::cli
