// `run` and `submit`.

#include <chrono>
#include <memory>
#include <optional>
#include <utility>

#include <CLI/CLI.hpp>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/cli/commands.h"
#include "client/cli/common_options.h"
#include "client/cli/interrupt.h"
#include "client/cli/job_text.h"
#include "client/cli/join.h"
#include "client/cli/program_output.h"
#include "client/cli/progress_bar.h"
#include "client/cli/work_args.h"
#include "jobpool/printable.h"

namespace jobpool::cli {
namespace {

constexpr absl::Duration kRedraw = absl::Milliseconds(200);
constexpr absl::Duration kCancelTimeout = absl::Seconds(10);  // for the end of a job that was cancelled

ExitStatus PrintRun(const Session& session, const v1::Job& job, absl::Duration elapsed) {
  switch (session.format) {
    case OutputFormat::kJson:
      return PrintJson(job);
    case OutputFormat::kName:
      Print(absl::StrCat(job.name(), "\n"));
      break;
    case OutputFormat::kTable:
      if (job.result().has_command()) {
        PrintProgramOutput(job.result().command());
      } else if (!job.has_command()) {  // stdout is its program's, also where that has not started
        Print(RunSummary(job, elapsed));
      }
      break;
  }
  return ExitStatus::kDone;
}

/// The user does not want the job any more. Gives the job as it stands at the end,
/// or when the patience for it ran out.
absl::StatusOr<v1::Job> CancelAndJoin(Session& session, const v1::Job& job) {
  PrintError(absl::StrCat("interrupted: cancelling ", job.name(), "; interrupt again to leave at once\n"));
  v1::CancelJobRequest request;
  request.set_name(job.name());
  const absl::Time deadline = absl::Now() + kCancelTimeout;
  const absl::StatusOr<v1::Job> cancelled = session.client.CancelJob(request, {.deadline = deadline});
  // FAILED_PRECONDITION: it has ended in the meantime.
  if (!cancelled.ok() && !absl::IsFailedPrecondition(cancelled.status())) return cancelled.status();
  auto joined = Join(session.client, {job.name()}, {.deadline = deadline}, WaitOn);
  if (!joined.ok()) return joined.status();
  if (!HasEnded(joined->jobs(0))) {
    PrintError(absl::StrCat("error: ", job.name(), " was cancelled but has not ended yet\n"));
  }
  return std::move(*joined->mutable_jobs(0));
}

ExitStatus Run(Session& session, const WorkArgs& args) {
  const absl::StatusOr<v1::SubmitJobRequest> request = ToSubmitRequest(args, absl::Now());
  if (!request.ok()) return ReportUsage(request.status().message(), "jobpool run");

  // By the monotonic clock.
  const auto elapsed = [start = std::chrono::steady_clock::now()] {
    return absl::FromChrono(std::chrono::steady_clock::now() - start);
  };
  // From before the job exists until it has ended, so that it is cancelled in any case.
  std::optional<InterruptGuard> interrupt(std::in_place);
  const absl::StatusOr<v1::Job> job = session.client.SubmitJob(*request, Soon());
  if (!job.ok()) {
    const ExitStatus status = Report(job.status());
    return interrupt->interrupted() ? ExitStatus::kInterrupted : status;
  }

  ProgressBar progress(/*plain_lines=*/!job->has_command());  // what its program writes to stderr comes there
  progress.Start(*job);
  absl::StatusOr<v1::WaitJobsResponse> joined =
      Join(session.client, {job->name()}, {.slice = kRedraw}, [&](const v1::WaitJobsResponse* response) {
        if (response != nullptr) progress.Update(response->jobs(0), elapsed());
        return !interrupt->interrupted();
      });
  if (interrupt->interrupted()) {
    progress.Clear();
    const absl::StatusOr<v1::Job> cancelled = CancelAndJoin(session, *job);
    if (!cancelled.ok()) {
      Report(cancelled.status());
    } else {
      PrintRun(session, *cancelled, elapsed());
    }
    return ExitStatus::kInterrupted;
  }
  if (!joined.ok()) {
    progress.Clear();
    const ExitStatus status = Report(joined.status());
    PrintError(absl::StrCat(job->name(), " may still run: see 'jobpool wait ", job->name(), "'\n"));
    return status;
  }

  const v1::Job& ended = joined->jobs(0);
  progress.End(ended, elapsed());
  interrupt.reset();
  const ExitStatus printed = PrintRun(session, ended, elapsed());
  if (ended.state() == v1::Job::SUCCEEDED) return printed;
  PrintError(absl::StrCat("error: ", ended.name(), " ", StateText(ended.state()), ": ",
                          Printable(ended.error().message()), "\n"));
  return ExitStatus::kJobFailed;
}

ExitStatus Submit(Session& session, const WorkArgs& args) {
  const absl::StatusOr<v1::SubmitJobRequest> request = ToSubmitRequest(args, absl::Now());
  if (!request.ok()) return ReportUsage(request.status().message(), "jobpool submit");
  const absl::StatusOr<v1::Job> job = session.client.SubmitJob(*request, Soon());
  if (!job.ok()) return Report(job.status());
  if (session.format == OutputFormat::kJson) return PrintJson(*job);
  Print(absl::StrCat(args.validate_only ? "valid" : job->name(), "\n"));
  return ExitStatus::kDone;
}

/// The options that both take.
std::shared_ptr<WorkArgs> AddWorkArgs(CLI::App& command) {
  auto args = std::make_shared<WorkArgs>();
  AddWorkOptions(command, *args).kind->required();
  AddDisplayNameOption(command, args->display_name, "Display name; default Job-N");
  command.add_flag("--daemon", args->daemon, "The server's end does not wait for it");
  command.add_option("--job-id", args->job_id, "Id that it shall have; default: the server's choice")
      ->option_text("ID");
  command
      .add_option("--request-id", args->request_id,
                  "A UUID: the same command with it again, within 24h, is the same job")
      ->option_text("UUID");
  AddTimeOptions(command, args->times);
  CLI::Option* attempts =
      command.add_option("--attempts", args->attempts, "How often it is tried; default 1, at most 100")
          ->option_text("N");
  command.add_option("--backoff", args->backoff, "Before the second attempt, then twice as long; default 1s")
      ->option_text("DURATION")
      ->needs(attempts);
  command.add_option("--max-backoff", args->max_backoff, "Before an attempt, at most; default 5m")
      ->option_text("DURATION")
      ->needs(attempts);
  return args;
}

}  // namespace

void AddRunCommands(CLI::App& app, Command& chosen) {
  const std::string kinds = absl::StrCat("Kinds:\n", WorkArgsHelp());
  CLI::App* run = AddCommand(
      app, "run", "Submit a job, show its progress, join it, print its result",
      absl::StrCat(
          kinds,
          "\nAn interrupt cancels the job; another, later, leaves at once. Exit status: 0 if it SUCCEEDED,\n"
          "1 if it FAILED or was CANCELLED, 130 after an interrupt. Of a command, what its program wrote is\n"
          "printed, to stdout and stderr.\n"
          "\nExamples:\n  jobpool run sleep 2s\n  jobpool run primes 1000000000 --name count\n"
          "  jobpool run command thumbnail width=200 image=a/cat.png > cat.png\n"
          "  jobpool run hash 1000000000 --timeout 10s --attempts 3 --backoff 500ms\n"
          "  jobpool run custom reverse hello"));
  const std::shared_ptr<WorkArgs> run_args = AddWorkArgs(*run);
  run->callback(
      [run_args, &chosen] { chosen = [run_args](Session& session) { return Run(session, *run_args); }; });

  CLI::App* submit =
      AddCommand(app, "submit", "Submit a job, print its name",
                 absl::StrCat(kinds,
                              "\nExamples:\n  jobpool wait $(jobpool submit sleep 10s --name nightly)\n"
                              "  jobpool submit pi 1000 --priority 9 --in 1h30m --deadline 2h"));
  const std::shared_ptr<WorkArgs> submit_args = AddWorkArgs(*submit);
  submit->add_flag("--validate-only", submit_args->validate_only,
                   "Only ask whether it would be accepted now; prints valid");
  submit->callback([submit_args, &chosen] {
    chosen = [submit_args](Session& session) { return Submit(session, *submit_args); };
  });
}

}  // namespace jobpool::cli
