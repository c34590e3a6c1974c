// `watch` and `jobs watch`.

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <google/rpc/error_details.pb.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "client/cli/commands.h"
#include "client/cli/job_text.h"
#include "client/cli/time_text.h"
#include "client/cli/work_args.h"
#include "jobpool/errors.h"
#include "jobpool/printable.h"

namespace jobpool::cli {
namespace {

/// How long it tries to go on when the server cannot be reached any more, from then on.
constexpr absl::Duration kPatience = absl::Seconds(30);
/// How long it leaves the server alone between two tries.
constexpr absl::Duration kPause = absl::Milliseconds(500);

struct WatchArgs {
  std::vector<std::string> names;
  std::string filter;
  bool changes_only = false;
  bool output = false;
};

/// `2023-11-22T14:53:01.250Z jobs/x RUNNING 50% the message`.
std::string EventLine(const v1::JobEvent& event, absl::Time now) {
  const v1::Job& job = event.job();
  if (event.type() == v1::JobEvent::OUTPUT) {
    const bool error = event.output().stream() == v1::JobEvent::Output::STDERR;
    return absl::StrCat(TimeText(now), " ", job.name(),
                        error ? " stderr: " : " stdout: ", PrintableBytes(event.output().data()), "\n");
  }
  const bool deleted = event.type() == v1::JobEvent::DELETED;
  std::string line =
      absl::StrCat(TimeText(now), " ", job.name(), " ", deleted ? "DELETED" : StateText(job.state()));
  if (deleted) return line + "\n";
  if (job.has_progress() && !HasEnded(job)) {
    absl::StrAppend(&line, absl::StrFormat(" %.0f%%", 100 * job.progress().ratio()));
  }
  const std::string& message = job.has_error() ? job.error().message() : job.progress().message();
  if (!message.empty()) absl::StrAppend(&line, " ", Printable(message));
  return line + "\n";
}

ExitStatus PrintEvents(const Session& session, const v1::WatchJobsResponse& message) {
  const absl::Time now = absl::Now();
  for (const v1::JobEvent& event : message.events()) {
    if (session.format == OutputFormat::kJson) {
      if (const ExitStatus printed = PrintJson(event); printed != ExitStatus::kDone) return printed;
    } else if (session.format == OutputFormat::kName) {
      Print(absl::StrCat(event.job().name(), "\n"));
    } else {
      Print(EventLine(event, now));
    }
  }
  const absl::Status written = FlushOutput();
  return written.ok() ? ExitStatus::kDone : Report(written);
}

/// Whether a watch that ended so can go on, or start again. CANCELLED: a server that
/// goes has cut it, as nobody here cancels.
bool CanGoOn(const absl::Status& status) {
  return absl::IsUnavailable(status) || absl::IsCancelled(status) || absl::IsOutOfRange(status) ||
         (absl::IsResourceExhausted(status) && FindDetail<google::rpc::RetryInfo>(status).has_value());
}

/// One watch, over as many calls as it takes.
class Watching {
 public:
  Watching(Session& session, v1::WatchJobsRequest request)
      : session_(session), request_(std::move(request)) {}

  ExitStatus Run() {
    for (;;) {
      const absl::Status status = Call();
      if (stop_ != ExitStatus::kDone) return stop_;
      if (status.ok()) return failed_ ? ExitStatus::kJobFailed : ExitStatus::kDone;
      // What has never begun tells at once why not.
      if (!begun_ || !CanGoOn(status)) return Report(status);
      if (!broken_.has_value()) broken_ = absl::Now();
      if (absl::Now() > *broken_ + kPatience) return Report(status);
      if (absl::IsOutOfRange(status)) {
        PrintError("the server does not know any more what has happened meanwhile; starting again\n");
        request_.clear_resume_token();
      }
      absl::SleepFor(kPause);
    }
  }

 private:
  /// Reads one call to its end.
  absl::Status Call() {
    const absl::StatusOr<std::unique_ptr<WatchCall>> call = session_.client.WatchJobs(request_);
    if (!call.ok()) return call.status();
    for (;;) {
      const absl::StatusOr<std::optional<v1::WatchJobsResponse>> message = (*call)->Next();
      if (!message.ok()) return message.status();
      if (!message->has_value()) return absl::OkStatus();
      begun_ = true;
      broken_.reset();
      if (!(*message)->resume_token().empty()) request_.set_resume_token((*message)->resume_token());
      for (const v1::JobEvent& event : (*message)->events()) {
        if (HasEnded(event.job()) && event.job().state() != v1::Job::SUCCEEDED) failed_ = true;
      }
      stop_ = PrintEvents(session_, **message);
      if (stop_ != ExitStatus::kDone) return absl::OkStatus();
    }
  }

  Session& session_;
  v1::WatchJobsRequest request_;
  bool begun_ = false;                   // there was a message
  std::optional<absl::Time> broken_;     // since when there was none, for a fault
  bool failed_ = false;                  // a job did not succeed
  ExitStatus stop_ = ExitStatus::kDone;  // else: output failed
};

ExitStatus Watch(Session& session, const WatchArgs& args) {
  v1::WatchJobsRequest request;
  for (const std::string& name : args.names) request.add_names(ResourceName("jobs", name));
  request.set_filter(args.filter);
  request.set_changes_only(args.changes_only);
  request.set_include_output(args.output);
  return Watching(session, std::move(request)).Run();
}

}  // namespace

void AddWatchCommand(CLI::App& parent, Command& chosen) {
  CLI::App* watch = AddCommand(
      parent, "watch", "Show what happens to jobs, as it happens, until all that are named have ended",
      "A line for each event: when it was heard, the job, its state, progress, and message; with -o json a\n"
      "JobEvent each. Goes on by itself when the connection breaks, for 30 s.\n"
      "\nExit status: 0 if all of the named SUCCEEDED, 1 if not.\n"
      "\nExamples:\n  jobpool watch jobs/a jobs/b\n  jobpool jobs watch --filter 'state = RUNNING'");
  auto args = std::make_shared<WatchArgs>();
  CLI::Option* names =
      AddNames(*watch, args->names, "jobs", "Jobs: jobs/ID, or the bare ID")->required(false);
  CLI::Option* filter =
      watch->add_option("--filter", args->filter, "Those that match, in place of names; never ends by itself")
          ->option_text("FILTER")
          ->excludes(names);
  watch->add_flag("--changes-only", args->changes_only, "Not how they stand at first")->needs(filter);
  watch->add_flag("--program-output", args->output, "Also what programs of commands write, as it comes");
  watch->callback([args, &chosen] {
    if (args->names.empty() && args->filter.empty()) throw CLI::RequiredError("NAME or --filter");
    chosen = [args](Session& session) { return Watch(session, *args); };
  });
}

}  // namespace jobpool::cli
