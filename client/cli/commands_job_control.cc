// `jobs retry|explain|update`.

#include <memory>
#include <utility>

#include <CLI/CLI.hpp>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/cli/commands.h"
#include "client/cli/common_options.h"
#include "client/cli/explanation_text.h"
#include "client/cli/job_output.h"
#include "client/cli/job_update_args.h"
#include "client/cli/work_args.h"

namespace jobpool::cli {
namespace {

constexpr char kJob[] = "Job: jobs/ID, or the bare ID";

/// What `retry` was given.
struct RetryArgs {
  std::string name;
  std::string job_id;
  std::string request_id;
};

ExitStatus RetryJob(Session& session, const RetryArgs& args) {
  v1::RetryJobRequest request;
  request.set_name(ResourceName("jobs", args.name));
  request.set_job_id(args.job_id);
  request.set_request_id(args.request_id);
  const absl::StatusOr<v1::Job> job = session.client.RetryJob(request, Soon());
  if (!job.ok()) return Report(job.status());
  if (session.format == OutputFormat::kJson) return PrintJson(*job);
  Print(absl::StrCat(job->name(), "\n"));
  return ExitStatus::kDone;
}

ExitStatus ExplainJob(Session& session, const std::string& name) {
  v1::ExplainJobRequest request;
  request.set_name(ResourceName("jobs", name));
  const absl::StatusOr<v1::ExplainJobResponse> explanation = session.client.ExplainJob(request, Soon());
  if (!explanation.ok()) return Report(explanation.status());
  switch (session.format) {
    case OutputFormat::kJson:
      return PrintJson(*explanation);
    case OutputFormat::kName:
      Print(absl::StrCat(explanation->name(), "\n"));
      break;
    case OutputFormat::kTable:
      Print(ExplanationText(*explanation, absl::Now()));
      break;
  }
  return ExitStatus::kDone;
}

ExitStatus UpdateJob(Session& session, const JobUpdateArgs& args) {
  const absl::StatusOr<v1::UpdateJobRequest> request = ToUpdateRequest(args, absl::Now());
  if (!request.ok()) return ReportUsage(request.status().message(), "jobpool jobs update");
  absl::StatusOr<v1::Job> job = session.client.UpdateJob(*request, Soon());
  if (!job.ok()) return Report(job.status());
  Jobs jobs;
  *jobs.Add() = *std::move(job);
  return PrintJobs(session, jobs);
}

void AddRetryCommand(CLI::App& jobs, Command& chosen) {
  CLI::App* retry = AddCommand(jobs, "retry", "Submit an ended job again, as a new one; prints its name",
                               "It has the same work and options, but no time to start at and no deadline.\n"
                               "\nExample:\n  jobpool wait $(jobpool jobs retry jobs/j6h0822kqc46cv0)");
  auto args = std::make_shared<RetryArgs>();
  AddNames(*retry, args->name, "jobs", kJob);
  retry->add_option("--job-id", args->job_id, "Id of the new job; default: the server's choice")
      ->option_text("ID");
  retry
      ->add_option("--request-id", args->request_id,
                   "A UUID: the same command with it again, within 24h, is the same job")
      ->option_text("UUID");
  retry->callback(
      [args, &chosen] { chosen = [args](Session& session) { return RetryJob(session, *args); }; });
}

void AddExplainCommand(CLI::App& jobs, Command& chosen) {
  CLI::App* explain = AddCommand(jobs, "explain", "Say why a job does not run, and when it should",
                                 "Example:\n  jobpool jobs explain jobs/j6h0822kqc46cv0");
  auto name = std::make_shared<std::string>();
  AddNames(*explain, *name, "jobs", kJob);
  explain->callback(
      [name, &chosen] { chosen = [name](Session& session) { return ExplainJob(session, *name); }; });
}

void AddUpdateCommand(CLI::App& jobs, Command& chosen) {
  CLI::App* update = AddCommand(
      jobs, "update", "Change a job that has not ended",
      "Priority and times can be changed only while it does not run. Exit status 5 if it runs or has\n"
      "ended, or if --etag is given and the job is not in that state any more.\n"
      "\nExamples:\n  jobpool jobs update jobs/j6h0822kqc46cv0 --priority 9 --now\n"
      "  jobpool jobs update j6h0822kqc46cv0 --label team=a --in 10m --no-deadline");
  auto args = std::make_shared<JobUpdateArgs>();
  AddNames(*update, args->name, "jobs", kJob);
  AddDisplayNameOption(*update, args->display_name, "Its new display name");
  AddLabelOption(*update, args->labels, "A label, instead of all it has; may be repeated");
  AddPriorityOption(*update, args->priority, "0 to 9; 9 starts first");
  AddTimeOptions(*update, args->times);
  CLI::Option* now = update->add_flag("--now", args->now, "To start at once, without a time to wait for");
  now->option_text(" ")->excludes(update->get_option("--at"))->excludes(update->get_option("--in"));
  update->add_flag("--no-deadline", args->no_deadline, "Without a deadline from now on")
      ->option_text(" ")
      ->excludes(update->get_option("--deadline"));
  update->add_option("--etag", args->etag, "Only if the job still has it; 'jobs get' shows it")
      ->option_text("ETAG");
  update->callback(
      [args, &chosen] { chosen = [args](Session& session) { return UpdateJob(session, *args); }; });
}

}  // namespace

void AddJobControlCommands(CLI::App& jobs, Command& chosen) {
  AddRetryCommand(jobs, chosen);
  AddExplainCommand(jobs, chosen);
  AddUpdateCommand(jobs, chosen);
}

}  // namespace jobpool::cli
