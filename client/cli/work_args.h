#pragma once

#include <optional>
#include <string>
#include <vector>

#include <google/protobuf/duration.pb.h>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "jobpool/v1/job_service.pb.h"

// What `run` and `submit` were given, from text to the request. Only what cannot
// be put into the request is an error here: bounds are the server's to judge.

namespace jobpool::cli {

/// As on the command line; empty or unset where it was not given.
struct WorkArgs {
  std::string kind;
  std::optional<std::string> argument;
  std::optional<std::string> seed;     // of `hash`
  std::optional<std::string> payload;  // of `noop`
  std::string display_name;
  std::string pool;
  std::vector<std::string> labels;  // `key=value`
  bool daemon = false;
  std::string job_id;
  std::string request_id;
  bool validate_only = false;  // of `submit`
  std::optional<std::string> retention;
};

/// INVALID_ARGUMENT with one line for people: unknown kind, an argument that is
/// missing, too many or not of its type, an option that belongs to another kind,
/// a label without `=` or given twice.
absl::StatusOr<v1::SubmitJobRequest> ToSubmitRequest(const WorkArgs& args);

/// A duration as absl::ParseDuration takes it (`1.5s`, `2m30s`, `100ms`), before
/// it days if any (`2d`, `1d12h`), or a bare number of seconds. Finite; may be negative.
absl::StatusOr<absl::Duration> ParseDurationArg(absl::string_view text);

/// REQUIRES: `duration` is one that ParseDurationArg gives.
google::protobuf::Duration ToProto(absl::Duration duration);

/// `jobs/x` for `x` of `collection` `jobs`; a name with a slash stays as it is.
std::string ResourceName(absl::string_view collection, absl::string_view text);

/// `sleep`, `primes`, …
std::vector<std::string> KindNames();

/// The kinds with their arguments, a line each, for --help.
std::string WorkArgsHelp();

}  // namespace jobpool::cli
