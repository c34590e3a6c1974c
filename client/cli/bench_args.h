#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "client/cli/load.h"
#include "client/cli/work_args.h"

// What `bench` was given, from text to the plan of its calls.

namespace jobpool::cli {

/// As on the command line; unset where it was not given.
struct BenchArgs {
  WorkArgs work;
  std::optional<int64_t> payload_size;
  bool submit = false;
  std::optional<int64_t> concurrency;
  std::optional<double> rate;
  std::optional<int64_t> max_in_flight;  // with `rate`
  int64_t connections = 1;
  std::optional<std::string> duration;
  std::optional<int64_t> count;
  std::optional<std::string> warmup;
  std::optional<std::string> drain_timeout;
};

// Defaults and bounds, as --help tells them.
inline constexpr int64_t kDefaultConcurrency = 64;
inline constexpr int64_t kDefaultMaxInFlight = 10'000;
inline constexpr int64_t kMaxInFlight = 100'000;
/// The server lets each connection have as many calls open (server/app/grpc_server.cc); others would wait
/// in the client, and the wait would count as the server's.
inline constexpr int64_t kMaxInFlightOfConnection = 10'000;
inline constexpr int64_t kMaxConnections = 100;
inline constexpr int64_t kMaxRate = 1'000'000;  // a second
inline constexpr int64_t kMaxCount = 1'000'000'000;

/// INVALID_ARGUMENT with one line for people: the first value that is none, or out of its bounds.
absl::StatusOr<LoadPlan> ToLoadPlan(const BenchArgs& args);

/// The work with the payload that was asked for. Errors as ToSubmitRequest has them.
absl::StatusOr<v1::SubmitJobRequest> ToBenchRequest(const BenchArgs& args, absl::Time now);

/// The words for the work: `sleep 10ms`.
std::string WorkText(const WorkArgs& work);

}  // namespace jobpool::cli
