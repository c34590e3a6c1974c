#pragma once

#include <atomic>

#include "absl/time/time.h"
#include "server/base/event.h"
#include "server/base/mutex.h"

namespace jobpool {

/// Why a job was asked to end.
enum class CancelReason : unsigned char {
  kNone,
  kTimeout,      // the attempt has run for as long as it may
  kRequested,    // by CancelJob
  kCallerGone,   // the RunJob call that it belonged to ended early
  kInterrupted,  // the server shuts down
  kDeadline,     // the job's deadline has passed
  kNotKept,      // the store has refused the job
};

/// Carries the wish that a piece of work ends early to the thread that does it.
/// Thread-safe. Lives as long as the attempt that it belongs to.
class CancelToken {
 public:
  /// Asks. Only the first reason counts, but that those give way after which the job may
  /// run again: kTimeout to all others, kInterrupted to kRequested and kCallerGone.
  void Cancel(CancelReason reason);

  /// Cheap enough for an inner loop.
  bool cancelled() const { return reason() != CancelReason::kNone; }
  CancelReason reason() const { return reason_.load(std::memory_order_acquire); }

  /// Sleeps for `duration` by the monotonic clock. Returns false at once when,
  /// or if, the token is cancelled.
  bool SleepFor(absl::Duration duration);

  /// From now on `event` is raised when, or if, the token is cancelled, for who waits with
  /// poll(); null: none is any more, from the return on. One at a time.
  void set_event(const Event* event);

 private:
  std::atomic<CancelReason> reason_{CancelReason::kNone};
  Mutex mu_;  // orders Cancel against a sleeper that is about to wait
  CondVar cancelled_cv_;
  const Event* event_ ABSL_GUARDED_BY(mu_) = nullptr;
};

}  // namespace jobpool
