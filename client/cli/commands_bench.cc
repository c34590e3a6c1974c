// `bench`.

#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/cli/bench_args.h"
#include "client/cli/bench_report.h"
#include "client/cli/commands.h"
#include "client/cli/common_options.h"
#include "client/cli/interrupt.h"
#include "client/cli/job_target.h"
#include "client/cli/status_line.h"

namespace jobpool::cli {
namespace {

constexpr absl::Duration kRedraw = absl::Seconds(1);

/// Draws a line each second, where there is a terminal.
class BenchProgress {
 public:
  void Show(const LoadProgress& progress) {
    const absl::Duration since = progress.elapsed - last_.elapsed;
    if (!line_.shows() || since < kRedraw) return;
    const double rate = static_cast<double>(progress.ended - last_.ended) / absl::ToDoubleSeconds(since);
    line_.Draw(BenchProgressLine(progress, rate, line_.Columns()));
    last_ = progress;
  }

 private:
  StatusLine line_;
  LoadProgress last_{};
};

/// Whether the server would take the job, asked on each connection: so the first call that is measured does
/// not wait for it. A refusal for want of room is no reason not to begin: it may be what is to be measured.
absl::Status Check(const std::vector<Client*>& connections, v1::SubmitJobRequest request) {
  request.set_validate_only(true);
  for (Client* connection : connections) {
    const absl::Status status = connection->SubmitJob(request, Soon()).status();
    if (!status.ok() && !absl::IsResourceExhausted(status)) return status;
  }
  return absl::OkStatus();
}

ExitStatus StatusOf(const LoadFigures& figures) {
  const ExitStatus lost = figures.lost.ok() ? ExitStatus::kDone : Report(figures.lost);
  if (figures.interrupted) return ExitStatus::kInterrupted;
  if (lost != ExitStatus::kDone) return lost;
  if (figures.succeeded > 0) return ExitStatus::kDone;
  PrintError("error: no call succeeded\n");
  return ExitStatus::kJobFailed;
}

ExitStatus Bench(Session& session, const BenchArgs& args) {
  const absl::StatusOr<LoadPlan> plan = ToLoadPlan(args);
  if (!plan.ok()) return ReportUsage(plan.status().message(), "jobpool bench");
  const absl::StatusOr<v1::SubmitJobRequest> request = ToBenchRequest(args, absl::Now());
  if (!request.ok()) return ReportUsage(request.status().message(), "jobpool bench");

  std::vector<std::unique_ptr<Client>> more;
  std::vector<Client*> connections = {&session.client};
  while (static_cast<int64_t>(connections.size()) < args.connections) {
    more.push_back(session.client.NewConnection());
    connections.push_back(more.back().get());
  }
  if (absl::Status status = Check(connections, *request); !status.ok()) return Report(status);

  const BenchSetup setup{.work = WorkText(args.work),
                         .method = args.submit ? "SubmitJob" : "RunJob",
                         .connections = args.connections,
                         .plan = *plan};
  JobTarget target(connections, *request, args.submit, plan->in_flight);
  std::optional<InterruptGuard> interrupt(std::in_place);
  std::optional<BenchProgress> progress(std::in_place);
  const LoadFigures figures = RunLoad(*plan, target, [&](const LoadProgress& now) {
    progress->Show(now);
    return !interrupt->interrupted();
  });
  progress.reset();
  interrupt.reset();
  Print(session.format == OutputFormat::kJson ? BenchJson(setup, figures) : BenchText(setup, figures));
  return StatusOf(figures);
}

/// `args->work.kind` has its default.
void AddBenchOptions(CLI::App& bench, BenchArgs& args) {
  const WorkOptions work = AddWorkOptions(bench, args.work);
  bench.add_option("--payload-size", args.payload_size, "A payload of so many bytes; at most 1 MiB")
      ->option_text("BYTES")
      ->excludes(work.payload)
      ->excludes(work.payload_file);
  bench.add_flag("--submit", args.submit,
                 "Measure SubmitJob, which answers before the job runs; the jobs run on");
  CLI::Option* concurrency =
      bench
          .add_option("--concurrency", args.concurrency,
                      "Closed loop: so many calls are in flight at any time; default 64")
          ->option_text("N");
  CLI::Option* rate = bench
                          .add_option("--rate", args.rate,
                                      "Open loop: so many calls start each second, whatever the answers do")
                          ->option_text("R")
                          ->excludes(concurrency);
  bench
      .add_option("--max-in-flight", args.max_in_flight,
                  "In an open loop at most; what is due beyond starts late; default 10000")
      ->option_text("N")
      ->needs(rate);
  bench
      .add_option("--connections", args.connections,
                  "Calls are spread over so many; default 1, as one client has; at most 100")
      ->option_text("N");
  bench
      .add_option("--duration", args.duration,
                  "How long calls are started; default 10s, with --count as long as it takes")
      ->option_text("DURATION");
  bench.add_option("--count", args.count, "How many calls are started, at most")->option_text("N");
  bench.add_option("--warmup", args.warmup, "Before that, calls that do not count; default 0")
      ->option_text("DURATION");
  bench
      .add_option("--drain-timeout", args.drain_timeout,
                  "How long to wait for the last answers, then cancel; default 10s")
      ->option_text("DURATION");
}

}  // namespace

void AddBenchCommand(CLI::App& app, Command& chosen) {
  CLI::App* bench = AddCommand(
      app, "bench", "Measure the server: make many calls, print rates, latencies and failures",
      absl::StrCat(
          "Each call is a RunJob: submits a job of KIND (default noop), and ends with it.\n\n"
          "In a closed loop, the default, each answer starts the next call: the rate is what server and\n"
          "concurrency make of it, and when the server stalls, the calls that would have come meanwhile\n"
          "do not, so that the latencies look better than callers would find them. With --rate call number\n"
          "N, from 0, is due N/R seconds after the begin, and its latency counts from then, also where\n"
          "it was sent later: what was held up shows the wait (corrected for coordinated omission). Service\n"
          "time counts from when it was sent. To find what the server bears, use a closed loop; to find\n"
          "how it feels under a load that it bears, --rate.\n\n"
          "Latencies are of calls that succeeded, to 0.1%. Refusals are counted by code and reason, and\n"
          "not sent again. An interrupt cancels the calls in flight, with their jobs, and prints what was\n"
          "measured; so does a server that goes away. With -o json one object; its times are in seconds.\n\n"
          "Exit status: 0 if a call succeeded, whatever the others did; 1 if none did; 5 if the server\n"
          "cannot be reached, or not any more; 130 after an interrupt.\n\n"
          "Kinds:\n",
          WorkArgsHelp(),
          "\nExamples:\n  jobpool bench\n  jobpool bench sleep 10ms --rate 200 --duration 30s --warmup 5s\n"
          "  jobpool bench noop --durability memory --concurrency 256 --connections 4\n"
          "  jobpool -o json bench --submit --count 100000 --retention 1m"));
  auto args = std::make_shared<BenchArgs>();
  args->work.kind = "noop";
  AddBenchOptions(*bench, *args);
  bench->callback([args, &chosen] { chosen = [args](Session& session) { return Bench(session, *args); }; });
}

}  // namespace jobpool::cli
