#include "server/base/cancel_token.h"

#include "server/base/clock.h"

namespace jobpool {

void CancelToken::Cancel(CancelReason reason) {
  MutexLock lock(mu_);
  CancelReason none = CancelReason::kNone;
  reason_.compare_exchange_strong(none, reason, std::memory_order_release);
  cancelled_cv_.NotifyAll();
}

bool CancelToken::SleepFor(absl::Duration duration) {
  const Clock& clock = Clock::Real();
  const MonotonicTime deadline = Later(clock.Monotonic(), duration);
  MutexLock lock(mu_);
  while (!cancelled()) {
    if (clock.Monotonic() >= deadline) return true;
    clock.WaitUntil(cancelled_cv_, mu_, deadline);
  }
  return false;
}

}  // namespace jobpool
