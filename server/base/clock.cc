#include "server/base/clock.h"

#include "absl/time/clock.h"

namespace jobpool {
namespace {

class RealClock final : public Clock {
 public:
  absl::Time Now() const override { return absl::Now(); }

  MonotonicTime Monotonic() const override { return std::chrono::steady_clock::now(); }

  void WaitUntil(CondVar& cv, Mutex& mu, MonotonicTime deadline) const override
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu) {
    if (deadline == MonotonicTime::max()) {
      cv.Wait(mu);
    } else {
      cv.WaitUntil(mu, deadline);
    }
  }
};

}  // namespace

const Clock& Clock::Real() {
  static const RealClock* const clock = new RealClock;
  return *clock;
}

MonotonicTime Later(MonotonicTime from, absl::Duration delay) {
  const absl::Duration left = absl::FromChrono(MonotonicTime::max() - from);
  if (delay >= left) return MonotonicTime::max();
  return from + absl::ToChronoNanoseconds(delay);
}

}  // namespace jobpool
