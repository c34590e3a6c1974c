#include "server/base/cancel_token.h"

#include "server/base/clock.h"

namespace jobpool {

void CancelToken::Cancel(CancelReason reason) {
  MutexLock lock(mu_);
  const CancelReason before = reason_.load(std::memory_order_relaxed);
  const bool by_owner = reason == CancelReason::kRequested || reason == CancelReason::kCallerGone;
  const bool gives_way = before == CancelReason::kNone || before == CancelReason::kTimeout ||
                         (before == CancelReason::kInterrupted && by_owner);
  if (!gives_way) return;
  reason_.store(reason, std::memory_order_release);
  cancelled_cv_.NotifyAll();
  if (event_ != nullptr) event_->Raise();
}

void CancelToken::set_event(const Event* event) {
  MutexLock lock(mu_);
  event_ = event;
  if (event_ != nullptr && cancelled()) event_->Raise();
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
