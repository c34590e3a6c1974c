#pragma once

#include <chrono>

#include "absl/time/time.h"
#include "server/base/mutex.h"

namespace jobpool {

/// A point of the monotonic clock: for durations and timers, never shown.
using MonotonicTime = std::chrono::steady_clock::time_point;

/// Where the server takes its time from. Thread-safe; outlives all its users.
class Clock {
 public:
  virtual ~Clock() = default;

  /// The time of day, for what is shown and stored. May jump.
  virtual absl::Time Now() const = 0;

  /// Never goes back.
  virtual MonotonicTime Monotonic() const = 0;

  /// Waits for `cv` to be notified or for `deadline` to come; may wake without
  /// cause. REQUIRES: `mu` is held, and guards what `cv` announces.
  virtual void WaitUntil(CondVar& cv, Mutex& mu, MonotonicTime deadline) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu) = 0;

  /// The clocks of the machine. Lives for ever.
  static const Clock& Real();
};

/// `from` plus `delay`; the end of time where that cannot be represented.
MonotonicTime Later(MonotonicTime from, absl::Duration delay);

}  // namespace jobpool
