#include "server/base/cancel_token.h"

#include "server/base/clock.h"

namespace jobpool {

void CancelToken::Cancel(CancelReason reason) {
  MutexLock lock(mu_);
  const CancelReason before = reason_.load(std::memory_order_relaxed);
  if (before != CancelReason::kNone && before != CancelReason::kTimeout) return;
  reason_.store(reason, std::memory_order_release);
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
