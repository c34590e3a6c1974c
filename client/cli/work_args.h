#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "client/cli/time_args.h"
#include "jobpool/v1/job_service.pb.h"

// What `run` and `submit` were given, from text to the request. Only what cannot
// be put into the request is an error here: bounds are the server's to judge.

namespace jobpool::cli {

/// What the server takes at most of a payload, or of the standard input of a program.
inline constexpr size_t kMaxInputBytes = size_t{1} << 20;

/// As on the command line; empty or unset where it was not given.
struct WorkArgs {
  std::string kind;
  std::optional<std::string> argument;
  /// Of `command`: `name=value` each; of `custom`: its payload, and no more.
  std::vector<std::string> more_arguments;
  std::optional<std::string> seed;          // of `hash`
  std::optional<std::string> payload;       // of `noop` and `custom`
  std::optional<std::string> payload_file;  // the same, to be read; `-`: standard input
  // Of `command`.
  std::vector<std::string> environment;   // `NAME=value`
  std::optional<std::string> stdin_file;  // `-`: standard input
  std::string display_name;
  std::string pool;
  std::vector<std::string> labels;  // `key=value`
  bool daemon = false;
  std::string job_id;
  std::string request_id;
  bool validate_only = false;  // of `submit`
  std::optional<std::string> retention;
  std::string isolation;   // thread, process, or empty: as the server is told
  std::string durability;  // memory, disk, or empty: as the server is told
  std::optional<int32_t> priority;
  TimeArgs times;
  std::optional<std::string> timeout;
  std::optional<int32_t> attempts;
  std::optional<std::string> backoff;
  std::optional<std::string> max_backoff;
};

/// `now` is what durations are counted from where they mean a time.
///
/// INVALID_ARGUMENT with one line for people: unknown kind, an argument that is
/// missing, too many or not of its type, an option that belongs to another kind,
/// a label without `=` or given twice, a file that cannot be read, or has more than 1 MiB,
/// a duration or time that is none, or one that would be another each time, with a request id.
absl::StatusOr<v1::SubmitJobRequest> ToSubmitRequest(const WorkArgs& args, absl::Time now);

/// Adds labels given as `key=value`. INVALID_ARGUMENT: one without `=`, or given twice.
absl::Status AddLabels(const std::vector<std::string>& labels, v1::Job& job);

/// `jobs/x` for `x` of `collection` `jobs`; a name with a slash stays as it is.
std::string ResourceName(absl::string_view collection, absl::string_view text);

/// `sleep`, `primes`, …
std::vector<std::string> KindNames();

/// The kinds with their arguments, a line each, for --help.
std::string WorkArgsHelp();

}  // namespace jobpool::cli
