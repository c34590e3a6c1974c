// `pools list|get|resize|pause|resume|drain`.

#include <algorithm>
#include <memory>
#include <optional>

#include <CLI/CLI.hpp>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/cli/commands.h"
#include "client/cli/pool_text.h"
#include "client/cli/pool_update_args.h"
#include "client/cli/time_args.h"
#include "client/cli/work_args.h"
#include "jobpool/printable.h"

namespace jobpool::cli {
namespace {

constexpr char kPool[] = "Pool: pools/NAME, or the bare NAME";
constexpr absl::Duration kLookAgain = absl::Milliseconds(200);  // while a pool drains

ExitStatus ListPools(Session& session) {
  const absl::StatusOr<v1::ListPoolsResponse> response =
      AllPages(v1::ListPoolsRequest(),
               [&](const v1::ListPoolsRequest& page) { return session.client.ListPools(page, Soon()); });
  if (!response.ok()) return Report(response.status());
  switch (session.format) {
    case OutputFormat::kJson:
      return PrintJson(*response);
    case OutputFormat::kName:
      for (const v1::Pool& pool : response->pools()) Print(absl::StrCat(pool.name(), "\n"));
      break;
    case OutputFormat::kTable:
      Print(PoolsTable(*response));
      break;
  }
  return ExitStatus::kDone;
}

ExitStatus PrintPool(const Session& session, const absl::StatusOr<v1::Pool>& pool) {
  if (!pool.ok()) return Report(pool.status());
  switch (session.format) {
    case OutputFormat::kJson:
      return PrintJson(*pool);
    case OutputFormat::kName:
      Print(absl::StrCat(pool->name(), "\n"));
      break;
    case OutputFormat::kTable:
      Print(PoolDetails(*pool));
      break;
  }
  return ExitStatus::kDone;
}

/// Of the methods that take a name alone: `method` with that of `request`.
template <typename Request>
absl::StatusOr<v1::Pool> CallForPool(Session& session,
                                     absl::StatusOr<v1::Pool> (Client::*method)(const Request&,
                                                                                const CallOptions&),
                                     const std::string& name) {
  Request request;
  request.set_name(ResourceName("pools", name));
  return (session.client.*method)(request, Soon());
}

ExitStatus ResizePool(Session& session, const PoolUpdateArgs& args) {
  const absl::StatusOr<v1::UpdatePoolRequest> request = ToUpdateRequest(args);
  if (!request.ok()) return ReportUsage(request.status().message(), "jobpool pools resize");
  return PrintPool(session, session.client.UpdatePool(*request, Soon()));
}

/// What `drain` was given.
struct DrainArgs {
  std::string name;
  bool wait = false;
  std::optional<std::string> timeout;  // of `wait`
};

int64_t JobsLeft(const v1::Pool& pool) {
  return pool.queued_jobs() + pool.scheduled_jobs() + pool.running_jobs();
}

/// Looks at a pool that drains, `pool` at first, until it has no jobs any more, it
/// drains no more, or it is `deadline`; as it stands then.
absl::StatusOr<v1::Pool> AwaitDrained(Session& session, v1::Pool pool, absl::Time deadline) {
  // The figures are not all of one moment: a job on its way from one to the next may be in none of them.
  int empty_looks = 0;
  while (true) {
    empty_looks = JobsLeft(pool) == 0 ? empty_looks + 1 : 0;
    const absl::Duration left = deadline - absl::Now();
    if (pool.state() != v1::Pool::DRAINING || empty_looks == 2 || left <= absl::ZeroDuration()) return pool;
    absl::SleepFor(std::min(kLookAgain, left));
    absl::StatusOr<v1::Pool> looked = CallForPool(session, &Client::GetPool, pool.name());
    if (!looked.ok()) return looked;
    pool = *std::move(looked);
  }
}

ExitStatus DrainPool(Session& session, const DrainArgs& args) {
  absl::Time deadline = absl::InfiniteFuture();
  if (args.timeout) {
    const absl::StatusOr<absl::Duration> timeout = ParseDurationArg(*args.timeout);
    if (!timeout.ok() || *timeout < absl::ZeroDuration()) {
      return ReportUsage(
          absl::StrCat("--timeout: ", timeout.ok() ? "must not be negative" : timeout.status().message()),
          "jobpool pools drain");
    }
    deadline = absl::Now() + *timeout;
  }
  absl::StatusOr<v1::Pool> pool = CallForPool(session, &Client::DrainPool, args.name);
  if (pool.ok() && args.wait) pool = AwaitDrained(session, *std::move(pool), deadline);
  const ExitStatus printed = PrintPool(session, pool);
  if (printed != ExitStatus::kDone || !args.wait) return printed;
  if (pool->state() != v1::Pool::DRAINING) {
    PrintError(absl::StrCat("error: ", Printable(pool->name()),
                            " does not drain any more: it was resumed or paused\n"));
    return ExitStatus::kRefused;
  }
  if (const int64_t left = JobsLeft(*pool); left > 0) {
    PrintError(absl::StrCat("error: the wait ran out; ", Printable(pool->name()), " still has ", left,
                            left == 1 ? " job\n" : " jobs\n"));
    return ExitStatus::kTimeout;
  }
  return ExitStatus::kDone;
}

/// Adds a subcommand that calls `method` with the name of a pool and prints the pool.
template <typename Request>
void AddPoolCommand(CLI::App& pools, Command& chosen, const std::string& name, const std::string& description,
                    const std::string& footer,
                    absl::StatusOr<v1::Pool> (Client::*method)(const Request&, const CallOptions&)) {
  CLI::App* command = AddCommand(pools, name, description, footer);
  auto pool = std::make_shared<std::string>();
  AddNames(*command, *pool, "pools", kPool);
  command->callback([pool, method, &chosen] {
    chosen = [pool, method](Session& session) {
      return PrintPool(session, CallForPool(session, method, *pool));
    };
  });
}

void AddResizeCommand(CLI::App& pools, Command& chosen) {
  CLI::App* resize =
      AddCommand(pools, "resize", "Change a pool's sizes and limits while it works",
                 "Holds until the server starts again or reads its config file again. Jobs that run or are\n"
                 "queued stay, also where they are more than may be now.\n"
                 "\nExamples:\n  jobpool pools resize compute --max 4\n"
                 "  jobpool pools resize blocking --queue 1000 --submits-per-second 50");
  auto args = std::make_shared<PoolUpdateArgs>();
  AddNames(*resize, args->name, "pools", kPool);
  resize->add_option("--min", args->min_threads, "Workers that are kept even when idle")->option_text("N");
  resize->add_option("--max", args->max_threads, "Workers at most")->option_text("N");
  resize->add_option("--queue", args->max_queued_jobs, "Jobs that may be queued or scheduled")
      ->option_text("N");
  resize->add_option("--starts-per-second", args->max_starts_per_second, "Jobs that may start; 0: any number")
      ->option_text("RATE");
  resize
      ->add_option("--submits-per-second", args->max_submits_per_second,
                   "Jobs that may be submitted; 0: any number")
      ->option_text("RATE");
  resize->add_option("--idle-timeout", args->idle_timeout, "How long a worker above the minimum idles")
      ->option_text("DURATION");
  resize
      ->add_option("--stop-grace", args->stop_grace,
                   "How long a job that was asked to end has before it is abandoned")
      ->option_text("DURATION");
  resize->callback(
      [args, &chosen] { chosen = [args](Session& session) { return ResizePool(session, *args); }; });
}

void AddDrainCommand(CLI::App& pools, Command& chosen) {
  CLI::App* drain = AddCommand(
      pools, "drain", "Take no more jobs until resumed, and run those there are",
      "Exit status with --wait: 0 when it has no jobs any more, 3 if the wait ran out, 5 if it was\n"
      "resumed or paused meanwhile. It drains on when the wait ends.\n"
      "\nExamples:\n  jobpool pools drain compute\n  jobpool pools drain compute --wait --timeout 5m");
  auto args = std::make_shared<DrainArgs>();
  AddNames(*drain, args->name, "pools", kPool);
  CLI::Option* wait = drain->add_flag("--wait", args->wait, "Until it has no jobs any more");
  drain->add_option("--timeout", args->timeout, "How long at most; 0 looks once; default: for ever")
      ->option_text("DURATION")
      ->needs(wait);
  drain->callback(
      [args, &chosen] { chosen = [args](Session& session) { return DrainPool(session, *args); }; });
}

}  // namespace

void AddPoolsCommands(CLI::App& app, Command& chosen) {
  CLI::App* pools = AddCommand(app, "pools", "Look at the pools, resize, pause and drain them; alone: list",
                               "Example:\n  jobpool pools get compute");
  pools->preparse_callback([&chosen](size_t) { chosen = ListPools; });

  AddCommand(*pools, "list", "List the pools", "Example:\n  jobpool pools list")->callback([&chosen] {
    chosen = ListPools;
  });

  AddPoolCommand(*pools, chosen, "get", "Show all about a pool", "Example:\n  jobpool pools get compute",
                 &Client::GetPool);
  AddResizeCommand(*pools, chosen);
  AddPoolCommand(*pools, chosen, "pause", "Start no more jobs until resumed; takes them still",
                 "Jobs that run go on. A pool that drained takes jobs again.\n"
                 "\nExample:\n  jobpool pools pause compute",
                 &Client::PausePool);
  AddPoolCommand(*pools, chosen, "resume", "Let a pool that is paused, or drains, work again",
                 "Example:\n  jobpool pools resume compute", &Client::ResumePool);
  AddDrainCommand(*pools, chosen);
}

}  // namespace jobpool::cli
