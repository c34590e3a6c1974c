#pragma once

#include <string>
#include <utility>

#include "absl/time/time.h"
#include "server/base/clock.h"
#include "server/base/progress.h"

namespace jobpool {

/// Passes a handler's progress on, but at most 20 times a second: more often
/// than people can read, seldom enough that the work does not feel it. Belongs
/// to one call of Handler::Run, and to its thread.
class PacedProgress {
 public:
  explicit PacedProgress(Progress& progress) : progress_(progress) {}

  /// For an inner loop: unless it is too early to say something again, sets
  /// `ratio` and the message that `make_message()` returns. The first call is
  /// never too early.
  template <typename MakeMessage>
  void Offer(double ratio, MakeMessage make_message) {
    const MonotonicTime now = Clock::Real().Monotonic();
    if (now < next_) return;
    next_ = Later(now, kInterval);
    progress_.Set(ratio, make_message());
  }

  /// The work is done.
  void Finish(std::string message) { progress_.Set(1, std::move(message)); }

 private:
  static constexpr absl::Duration kInterval = absl::Milliseconds(50);

  Progress& progress_;
  MonotonicTime next_ = MonotonicTime::min();
};

}  // namespace jobpool
