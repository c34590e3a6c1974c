#pragma once

#include <algorithm>
#include <array>
#include <cstddef>

#include "absl/time/time.h"
#include "server/base/clock.h"

namespace jobpool {

/// How fast a queue drains: the mean time between the last takes, kWindow at most,
/// while something waited. Not thread-safe.
class DrainRate {
 public:
  /// Something waits from now on, nothing did.
  void Begin(MonotonicTime now) { Restart(now); }

  /// One was taken, and something still waits.
  void Took(MonotonicTime now) {
    times_[next_ % times_.size()] = now;
    ++next_;
    if (next_ - first_ > kWindow) first_ = next_ - kWindow;
    interval_ = MeanInterval(now);
  }

  /// The last was taken: what comes is another stretch. What was measured stays until
  /// there is more.
  void End() { waiting_ = false; }

  /// Whether a time between two takes was ever measured.
  bool measured() const { return interval_ > absl::ZeroDuration(); }

  /// Until something was measured, how long that has been waited for. When nothing was taken for longer than
  /// usual, that counts.
  absl::Duration Interval(MonotonicTime now) const {
    if (!waiting_) return interval_;
    return std::max(interval_, absl::FromChrono(now - times_[(next_ - 1) % times_.size()]));
  }

 private:
  static constexpr size_t kWindow = 64;

  void Restart(MonotonicTime now) {
    waiting_ = true;
    first_ = 0;
    next_ = 1;
    times_[0] = now;
  }

  absl::Duration MeanInterval(MonotonicTime now) const {
    const size_t takes = next_ - 1 - first_;
    const absl::Duration measured =
        absl::FromChrono(now - times_[first_ % times_.size()]) / static_cast<double>(takes);
    // A stretch that has just begun says little: it moves what was known by its share.
    if (interval_ == absl::ZeroDuration()) return measured;
    const double weight = std::min(1.0, 4.0 * static_cast<double>(takes) / kWindow);
    return interval_ * (1 - weight) + measured * weight;
  }

  std::array<MonotonicTime, kWindow + 1> times_{};  // first_ to next_, at their remainder
  size_t first_ = 0;
  size_t next_ = 0;
  bool waiting_ = false;
  absl::Duration interval_;
};

}  // namespace jobpool
