// `wait`, also called `join`.

#include <algorithm>
#include <memory>
#include <optional>

#include <CLI/CLI.hpp>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/cli/commands.h"
#include "client/cli/job_text.h"
#include "client/cli/join.h"
#include "client/cli/work_args.h"

namespace jobpool::cli {
namespace {

struct WaitArgs {
  std::vector<std::string> names;
  bool any = false;
  std::optional<std::string> timeout;
};

/// `name` output names what is there to be read, which of ANY is not all of them.
ExitStatus PrintJoined(const Session& session, const v1::WaitJobsResponse& response) {
  switch (session.format) {
    case OutputFormat::kJson:
      return PrintJson(response);
    case OutputFormat::kName:
      for (const v1::Job& job : response.jobs()) {
        if (HasEnded(job)) Print(absl::StrCat(job.name(), "\n"));
      }
      break;
    case OutputFormat::kTable:
      Print(JoinedJobsTable(response.jobs(), absl::Now()));
      break;
  }
  return ExitStatus::kDone;
}

/// For jobs that were waited for with success.
ExitStatus StatusOfEnded(const Jobs& jobs, bool any) {
  const auto succeeded = [](const v1::Job& job) { return job.state() == v1::Job::SUCCEEDED; };
  const bool good = any ? std::any_of(jobs.begin(), jobs.end(), succeeded)
                        : std::all_of(jobs.begin(), jobs.end(), succeeded);
  return good ? ExitStatus::kDone : ExitStatus::kJobFailed;
}

ExitStatus Wait(Session& session, const WaitArgs& args) {
  JoinOptions options;
  options.mode = args.any ? v1::WaitJobsRequest::ANY : v1::WaitJobsRequest::ALL;
  if (args.timeout) {
    const absl::StatusOr<absl::Duration> timeout = ParseDurationArg(*args.timeout);
    if (!timeout.ok())
      return ReportUsage(absl::StrCat("--timeout: ", timeout.status().message()), "jobpool wait");
    if (*timeout < absl::ZeroDuration())
      return ReportUsage("--timeout: must not be negative", "jobpool wait");
    options.deadline = absl::Now() + *timeout;
  }
  std::vector<std::string> names;
  for (const std::string& name : args.names) names.push_back(ResourceName("jobs", name));

  const absl::StatusOr<v1::WaitJobsResponse> joined = Join(session.client, names, options, WaitOn);
  if (!joined.ok()) return Report(joined.status());
  const ExitStatus printed = PrintJoined(session, *joined);
  if (printed != ExitStatus::kDone) return printed;
  if (!joined->timed_out()) return StatusOfEnded(joined->jobs(), args.any);
  const auto alive = std::count_if(joined->jobs().begin(), joined->jobs().end(),
                                   [](const v1::Job& job) { return !HasEnded(job); });
  PrintError(absl::StrCat("error: the wait ran out; ", alive, " of ", joined->jobs_size(),
                          joined->jobs_size() == 1 ? " job has" : " jobs have", " not ended\n"));
  return ExitStatus::kTimeout;
}

}  // namespace

void AddWaitCommand(CLI::App& app, Command& chosen) {
  CLI::App* wait = AddCommand(
      app, "wait", "Join jobs: wait until all of them have ended, or one (alias: join)",
      "Exit status: 0 if all of them (with --any: one) SUCCEEDED, 1 if not, 3 if the wait ran out.\n"
      "With -o name, those that have ended.\n"
      "\nExamples:\n  jobpool wait jobs/a jobs/b --timeout 5s\n  jobpool wait --any a b");
  wait->alias("join");
  auto args = std::make_shared<WaitArgs>();
  AddNames(*wait, args->names, "jobs", "Jobs: jobs/ID, or the bare ID");
  wait->add_flag("--any", args->any, "Until one of them has ended, not all");
  wait->add_option("--timeout", args->timeout, "How long at most; 0 looks once; default: for ever")
      ->option_text("DURATION");
  wait->callback([args, &chosen] { chosen = [args](Session& session) { return Wait(session, *args); }; });
}

}  // namespace jobpool::cli
