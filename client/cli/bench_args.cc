#include "client/cli/bench_args.h"

#include "absl/strings/str_cat.h"
#include "client/cli/time_args.h"

namespace jobpool::cli {
namespace {

absl::Status CheckRange(absl::string_view option, int64_t value, int64_t least, int64_t most) {
  if (value >= least && value <= most) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(option, ": must be ", least, " to ", most, ", got ", value));
}

/// `value` stays as it is where the option was not given.
absl::Status SetSpan(absl::string_view option, const std::optional<std::string>& text, bool may_be_zero,
                     absl::Duration& value) {
  if (!text) return absl::OkStatus();
  const absl::StatusOr<absl::Duration> parsed = ParseDurationArg(*text);
  if (!parsed.ok()) {
    return absl::InvalidArgumentError(absl::StrCat(option, ": ", parsed.status().message()));
  }
  const bool too_short = may_be_zero ? *parsed < absl::ZeroDuration() : *parsed <= absl::ZeroDuration();
  if (too_short || *parsed > absl::Hours(24)) {
    return absl::InvalidArgumentError(absl::StrCat(
        option, ": must be ", may_be_zero ? "0 to 24h" : "more than 0 and at most 24h", ", got ", *text));
  }
  value = *parsed;
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<LoadPlan> ToLoadPlan(const BenchArgs& args) {
  LoadPlan plan;
  if (args.rate && !(*args.rate > 0 && *args.rate <= kMaxRate)) {
    return absl::InvalidArgumentError(
        absl::StrCat("--rate: must be more than 0 and at most ", kMaxRate, ", got ", *args.rate));
  }
  plan.rate = args.rate;
  const absl::string_view bound = args.rate ? "--max-in-flight" : "--concurrency";
  const int64_t in_flight = args.rate ? args.max_in_flight.value_or(kDefaultMaxInFlight)
                                      : args.concurrency.value_or(kDefaultConcurrency);
  if (absl::Status status = CheckRange(bound, in_flight, 1, kMaxInFlight); !status.ok()) return status;
  if (absl::Status status = CheckRange("--connections", args.connections, 1, kMaxConnections); !status.ok())
    return status;
  if (args.connections > in_flight) {
    return absl::InvalidArgumentError(
        absl::StrCat("--connections: must not be more than ", bound, ", ", in_flight));
  }
  if (in_flight > args.connections * kMaxInFlightOfConnection) {
    return absl::InvalidArgumentError(absl::StrCat(bound, ": the server takes ", kMaxInFlightOfConnection,
                                                   " calls at a time from a connection; for ", in_flight,
                                                   " give more --connections"));
  }
  plan.in_flight = static_cast<size_t>(in_flight);
  if (args.count) {
    if (absl::Status status = CheckRange("--count", *args.count, 1, kMaxCount); !status.ok()) return status;
    plan.count = *args.count;
  }
  if (!args.count) plan.duration = absl::Seconds(10);
  for (const absl::Status& status :
       {SetSpan("--duration", args.duration, /*may_be_zero=*/false, plan.duration),
        SetSpan("--warmup", args.warmup, /*may_be_zero=*/true, plan.warmup),
        SetSpan("--drain-timeout", args.drain_timeout, /*may_be_zero=*/true, plan.drain_timeout)}) {
    if (!status.ok()) return status;
  }
  return plan;
}

absl::StatusOr<v1::SubmitJobRequest> ToBenchRequest(const BenchArgs& args, absl::Time now) {
  if (!args.payload_size) return ToSubmitRequest(args.work, now);
  if (absl::Status status =
          CheckRange("--payload-size", *args.payload_size, 0, static_cast<int64_t>(kMaxInputBytes));
      !status.ok()) {
    return status;
  }
  WorkArgs work = args.work;
  work.payload = std::string(static_cast<size_t>(*args.payload_size), 'x');
  return ToSubmitRequest(work, now);
}

std::string WorkText(const WorkArgs& work) {
  std::string text = work.kind;
  if (work.argument) absl::StrAppend(&text, " ", *work.argument);
  for (const std::string& argument : work.more_arguments) absl::StrAppend(&text, " ", argument);
  return text;
}

}  // namespace jobpool::cli
