#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>

#include "server/base/clock.h"

namespace jobpool {

/// Lets so many events a second pass: in any period of t seconds at most rate * t, and
/// beside them what comes in the time `burst`, at least one. The generic cell rate
/// algorithm (ITU-T I.371), in constant time and memory. Not thread-safe.
class RateLimiter {
 public:
  /// `rate` a second; 0: no limit.
  RateLimiter(absl::Duration burst, double rate) : burst_(absl::ToDoubleSeconds(burst)) { SetRate(rate); }

  /// A new rate counts from now on: what passed at the old one is forgotten.
  void SetRate(double rate) {
    if (rate != rate_) due_ = Point{Seconds(0)};
    rate_ = rate;
    interval_ = rate > 0 ? Seconds(1 / rate) : Seconds(0);
    tolerance_ = std::max(Seconds(0), burst_ - interval_);
  }

  double rate() const { return rate_; }
  bool limited() const { return rate_ > 0; }

  /// From when on so many would pass together, if none did meanwhile; for more than
  /// ever can, always later than `now`.
  MonotonicTime NextTime(MonotonicTime now, int64_t events = 1) const {
    if (!limited()) return now;
    // Counted from now: a double of the whole time since the machine's start is too coarse after some months.
    const Seconds wait =
        std::max(Seconds(0), due_ - Point(now)) + interval_ * static_cast<double>(events - 1) - tolerance_;
    if (wait < std::chrono::nanoseconds(1)) return now;
    return now + std::chrono::round<MonotonicTime::duration>(wait);
  }

  bool Allows(MonotonicTime now, int64_t events = 1) const { return NextTime(now, events) <= now; }

  /// Counts all of `events`, or none, and returns false, if it does not allow them.
  bool Take(MonotonicTime now, int64_t events = 1) {
    if (!Allows(now, events)) return false;
    if (limited()) due_ = std::max(Point(now), due_) + interval_ * static_cast<double>(events);
    return true;
  }

  /// Some that were taken have not happened after all.
  void GiveBack(int64_t events) { due_ -= interval_ * static_cast<double>(events); }

 private:
  using Seconds = std::chrono::duration<double>;
  using Point = std::chrono::time_point<std::chrono::steady_clock, Seconds>;

  Seconds burst_;
  double rate_ = 0;
  Seconds interval_{0};
  Seconds tolerance_{0};
  Point due_{Seconds(0)};  // the next event's place on an even grid
};

}  // namespace jobpool
