#include "client/cli/bench_report.h"

#include <vector>

#include <google/protobuf/struct.pb.h>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "client/cli/output.h"
#include "client/cli/table.h"
#include "client/cli/time_text.h"

namespace jobpool::cli {
namespace {

double PerSecond(const LoadFigures& figures) {
  const double seconds = absl::ToDoubleSeconds(figures.elapsed);
  return seconds > 0 ? static_cast<double>(figures.succeeded) / seconds : 0;
}

/// `1 call`, `2 calls`.
std::string Some(int64_t number, absl::string_view what) {
  return absl::StrCat(number, " ", what, number == 1 ? "" : "s");
}

std::string LoopText(const BenchSetup& setup) {
  const std::string connections = Some(setup.connections, "connection");
  if (!setup.plan.rate) return absl::StrCat("closed: ", setup.plan.in_flight, " in flight, ", connections);
  return absl::StrCat("open: ", absl::StrFormat("%.15g", *setup.plan.rate), "/s, at most ",
                      setup.plan.in_flight, " in flight, ", connections);
}

std::string StartedText(const BenchSetup& setup, const LoadFigures& figures) {
  if (!setup.plan.rate) return absl::StrCat(figures.started);
  return absl::StrCat(figures.started, " of ", figures.scheduled, ", ", figures.late, " late (",
                      DurationText(figures.max_delay), " at most), ", figures.scheduled - figures.started,
                      " missed");
}

std::vector<std::string> LatencyRow(const std::string& name, const LatencyHistogram& values) {
  std::vector<std::string> row = {name, DurationText(values.Min()), DurationText(values.Mean())};
  for (const double percent : {50.0, 90.0, 99.0, 99.9})
    row.push_back(DurationText(values.Percentile(percent)));
  row.push_back(DurationText(values.Max()));
  return row;
}

std::string LatencyTable(const BenchSetup& setup, const LoadFigures& figures) {
  Table table({"", "MIN", "MEAN", "P50", "P90", "P99", "P99.9", "MAX"});
  table.AddRow(LatencyRow("latency", figures.latency));
  if (setup.plan.rate) table.AddRow(LatencyRow("service time", figures.service_time));
  return table.ToString();
}

std::string Notes(const BenchSetup& setup, const LoadFigures& figures) {
  std::string notes;
  const int64_t missed = figures.scheduled - figures.started;
  if (figures.unfinished + missed > 0) {
    absl::StrAppend(&notes, "Without ", Some(figures.unfinished, "call"), " that had no answer in time, and ",
                    missed, " never sent: those would be the longest.\n");
  }
  if (setup.plan.rate) {
    notes += "Latency counts from when a call was due, service time from when it was sent.\n";
  } else {
    notes +=
        "Closed loop: a stall holds up the calls that would have come meanwhile, and few of them show it.\n"
        "--rate measures those, too.\n";
  }
  return notes;
}

std::string JsonString(const std::string& text) {
  google::protobuf::Value value;
  value.set_string_value(text);
  std::string json = ToJson(value).value_or("null");
  absl::StripTrailingAsciiWhitespace(&json);
  return json;
}

std::string JsonSeconds(absl::Duration duration) {
  return absl::StrFormat("%.9g", absl::ToDoubleSeconds(duration));
}

/// What is written of the fields of an object: `  "name": value` each.
using JsonFields = std::vector<std::pair<absl::string_view, std::string>>;

std::string JsonObject(const JsonFields& fields, absl::string_view separator, absl::string_view end) {
  return absl::StrCat("{", separator,
                      absl::StrJoin(fields, absl::StrCat(",", separator.empty() ? " " : separator),
                                    [](std::string* out, const auto& field) {
                                      absl::StrAppend(out, "\"", field.first, "\": ", field.second);
                                    }),
                      end, "}");
}

std::string JsonLatencies(const LatencyHistogram& values) {
  if (values.count() == 0) return "null";
  return JsonObject({{"min", JsonSeconds(values.Min())},
                     {"mean", JsonSeconds(values.Mean())},
                     {"p50", JsonSeconds(values.Percentile(50))},
                     {"p90", JsonSeconds(values.Percentile(90))},
                     {"p99", JsonSeconds(values.Percentile(99))},
                     {"p99_9", JsonSeconds(values.Percentile(99.9))},
                     {"max", JsonSeconds(values.Max())}},
                    "", "");
}

std::string JsonFailures(const LoadFigures& figures) {
  std::vector<std::string> all;
  for (const auto& [failure, count] : figures.failures) {
    all.push_back(JsonObject({{"of", failure.of_job ? "\"job\"" : "\"call\""},
                              {"code", JsonString(failure.code)},
                              {"reason", JsonString(failure.reason)},
                              {"count", absl::StrCat(count)}},
                             "", ""));
  }
  return absl::StrCat("[", absl::StrJoin(all, ", "), "]");
}

}  // namespace

std::string BenchText(const BenchSetup& setup, const LoadFigures& figures) {
  Table table;
  table.AddRow({"work", absl::StrCat(setup.work, ", by ", setup.method)});
  table.AddRow({"loop", LoopText(setup)});
  table.AddRow(
      {"elapsed", absl::StrCat(DurationText(figures.elapsed), figures.interrupted ? ", interrupted" : "")});
  table.AddRow({"started", StartedText(setup, figures)});
  table.AddRow({"succeeded", absl::StrFormat("%d, %.1f/s", figures.succeeded, PerSecond(figures))});
  table.AddRow({"failed", absl::StrCat(figures.failed)});
  for (const auto& [failure, count] : figures.failures) {
    table.AddRow(
        {absl::StrCat("  ", failure.of_job ? "job" : "call"),
         absl::StrCat(failure.code, failure.reason.empty() ? "" : " ", failure.reason, ": ", count)});
  }
  table.AddRow({"unfinished", absl::StrCat(figures.unfinished)});
  std::string text = table.ToString();
  if (figures.latency.count() == 0) return text;
  return absl::StrCat(text, "\n", LatencyTable(setup, figures), "\n", Notes(setup, figures));
}

std::string BenchJson(const BenchSetup& setup, const LoadFigures& figures) {
  const LoadPlan& plan = setup.plan;
  return absl::StrCat(
      JsonObject({{"work", JsonString(setup.work)},
                  {"method", JsonString(setup.method)},
                  {"loop", plan.rate ? "\"open\"" : "\"closed\""},
                  {"rate_per_second", plan.rate ? absl::StrFormat("%.15g", *plan.rate) : "null"},
                  {"max_in_flight", absl::StrCat(plan.in_flight)},
                  {"connections", absl::StrCat(setup.connections)},
                  {"warmup_seconds", JsonSeconds(plan.warmup)},
                  {"elapsed_seconds", JsonSeconds(figures.elapsed)},
                  {"interrupted", figures.interrupted ? "true" : "false"},
                  {"server_lost", figures.lost.ok() ? "false" : "true"},
                  {"scheduled", absl::StrCat(figures.scheduled)},
                  {"started", absl::StrCat(figures.started)},
                  {"started_late", absl::StrCat(figures.late)},
                  {"max_start_delay_seconds", JsonSeconds(figures.max_delay)},
                  {"missed", absl::StrCat(figures.scheduled - figures.started)},
                  {"succeeded", absl::StrCat(figures.succeeded)},
                  {"failed", absl::StrCat(figures.failed)},
                  {"failures", JsonFailures(figures)},
                  {"unfinished", absl::StrCat(figures.unfinished)},
                  {"succeeded_per_second", absl::StrFormat("%.9g", PerSecond(figures))},
                  {"latency_seconds", JsonLatencies(figures.latency)},
                  {"service_time_seconds", JsonLatencies(figures.service_time)}},
                 "\n ", "\n"),
      "\n");
}

std::string BenchProgressLine(const LoadProgress& progress, double recent_rate, size_t columns) {
  std::string line =
      absl::StrFormat("%s  %d answers  %.0f/s  %d failed  %d in flight", ClockText(progress.elapsed),
                      progress.ended, recent_rate, progress.failed, progress.in_flight);
  // In the last column some terminals begin a new line.
  return CutToWidth(line, columns > 0 ? columns - 1 : 0);
}

}  // namespace jobpool::cli
