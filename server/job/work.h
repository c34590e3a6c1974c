#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace jobpool {

// What jobs do and what it gives, as plain values. Units and bounds are those
// of proto/jobpool/v1/job.proto; a value of these types is within them.

struct SleepWork {
  absl::Duration duration;
};
struct PrimesWork {
  int64_t limit = 0;
};
struct FibonacciWork {
  int64_t index = 0;
};
struct PiWork {
  int32_t digits = 0;
};
struct HashWork {
  int64_t bytes = 0;
  uint64_t seed = 0;
};
struct SpinWork {
  absl::Duration cpu_time;
};
struct NoopWork {
  std::shared_ptr<const std::string> payload;  // null: empty
};
/// Behind a pointer, so that all other work stays small.
struct CustomWork {
  struct Call {
    std::string kind;  // of a plug-in
    std::string payload;
  };
  std::shared_ptr<const Call> call;  // null: without a kind, which is not within the bounds

  absl::string_view kind() const { return call != nullptr ? call->kind : absl::string_view(); }
  absl::string_view payload() const { return call != nullptr ? call->payload : absl::string_view(); }
};

/// Sorted by name.
using NamedValues = std::vector<std::pair<std::string, std::string>>;

/// What a program on the server's list is started with.
struct CommandCall {
  std::string name;  // on the list
  NamedValues arguments;
  NamedValues environment;
  std::string input;  // what it reads from its stdin
};
struct CommandWork {
  std::shared_ptr<const CommandCall> call;  // never null but in a default value
};

/// The order is that of Kind.
using Work = std::variant<SleepWork, PrimesWork, FibonacciWork, PiWork, HashWork, SpinWork, NoopWork,
                          CommandWork, CustomWork>;

struct SleepResult {
  absl::Duration slept;
};
struct PrimesResult {
  int64_t count = 0;
};
struct FibonacciResult {
  std::string digits;
};
struct PiResult {
  std::string digits;
};
struct HashResult {
  std::string sha256;
};
struct SpinResult {
  absl::Duration cpu_time;
};
struct NoopResult {
  std::shared_ptr<const std::string> payload;  // null: empty
};
struct CustomResult {
  std::shared_ptr<const std::string> payload;  // null: empty
};

/// Of a program.
enum class OutputStream : unsigned char { kOut, kErr };

/// How a program ended, and what it wrote up to then.
struct CommandOutput {
  int exit_status = 0;  // of one that exited
  int signal = 0;       // that ended it; 0: it exited
  std::string out;      // its stdout, as much as is kept
  std::string err;      // its stderr, likewise
  bool out_truncated = false;
  bool err_truncated = false;
};
struct CommandResult {
  std::shared_ptr<const CommandOutput> output;  // never null but in a default value
};

/// Alternative I is the result of alternative I of Work.
using Result = std::variant<SleepResult, PrimesResult, FibonacciResult, PiResult, HashResult, SpinResult,
                            NoopResult, CommandResult, CustomResult>;

/// The kinds of work, in the order of the alternatives of Work.
enum class Kind : unsigned char { kSleep, kPrimes, kFibonacci, kPi, kHash, kSpin, kNoop, kCommand, kCustom };

inline constexpr size_t kKindCount = std::variant_size_v<Work>;
static_assert(std::variant_size_v<Result> == kKindCount);
static_assert(static_cast<size_t>(Kind::kCustom) + 1 == kKindCount);

inline Kind KindOf(const Work& work) { return static_cast<Kind>(work.index()); }

/// Bytes that the work, or the result, holds beside itself.
size_t HeapBytes(const Work& work);
size_t HeapBytes(const Result& result);

/// The name of the kind in proto, CLI, metrics and log.
absl::string_view KindName(Kind kind);
/// Nothing: there is none of that name.
std::optional<Kind> FindKind(absl::string_view name);

}  // namespace jobpool
