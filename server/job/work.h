#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <variant>

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

/// The order is that of Kind.
using Work = std::variant<SleepWork, PrimesWork, FibonacciWork, PiWork, HashWork, SpinWork, NoopWork>;

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

/// Alternative I is the result of alternative I of Work.
using Result =
    std::variant<SleepResult, PrimesResult, FibonacciResult, PiResult, HashResult, SpinResult, NoopResult>;

/// The kinds of work, in the order of the alternatives of Work.
enum class Kind : unsigned char { kSleep, kPrimes, kFibonacci, kPi, kHash, kSpin, kNoop };

inline constexpr size_t kKindCount = std::variant_size_v<Work>;
static_assert(std::variant_size_v<Result> == kKindCount);
static_assert(static_cast<size_t>(Kind::kNoop) + 1 == kKindCount);

inline Kind KindOf(const Work& work) { return static_cast<Kind>(work.index()); }

/// Bytes that the work, or the result, holds beside itself.
size_t HeapBytes(const Work& work);
size_t HeapBytes(const Result& result);

/// The name of the kind in proto, CLI, metrics and log.
absl::string_view KindName(Kind kind);
/// Nothing: there is none of that name.
std::optional<Kind> FindKind(absl::string_view name);

}  // namespace jobpool
