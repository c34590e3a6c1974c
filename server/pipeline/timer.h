#pragma once

#include <cstdint>
#include <functional>
#include <thread>
#include <utility>
#include <variant>

#include "absl/container/btree_map.h"
#include "server/base/clock.h"
#include "server/base/mutex.h"
#include "server/workers/thread_registry.h"

namespace jobpool {

/// The one owner of time: calls functions when their time has come, on one
/// thread of role SERVICE. Thread-safe; logarithmic in the number of timers.
///
/// Timers by the time of day follow its jumps: at the latest when the next timer by
/// the monotonic clock is due (upkeep has one each second).
class Timer {
 public:
  /// Names a timer; no two of one Timer are equal.
  using Id = std::variant<std::pair<MonotonicTime, uint64_t>, std::pair<absl::Time, uint64_t>>;

  /// Returns when its thread is registered. `registry` and `clock` outlive it.
  explicit Timer(ThreadRegistry& registry, const Clock& clock = Clock::Real());
  ~Timer();
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;

  /// Calls `fn` at `when`, or soon if that has passed; in the order of their
  /// times, equal ones in the order of their coming. `fn` is short and does not
  /// block: other timers wait for it.
  Id At(MonotonicTime when, std::function<void()> fn);

  /// Likewise by the time of day.
  Id AtTime(absl::Time when, std::function<void()> fn);

  /// Returns false if it was called, is being called, or was cancelled before.
  bool Cancel(const Id& id);

  /// Drops what has not been called, ends the thread. Idempotent.
  void Stop();

  MonotonicTime Now() const { return clock_.Monotonic(); }
  const Clock& clock() const { return clock_; }

 private:
  template <typename When>
  using Timers = absl::btree_map<std::pair<When, uint64_t>, std::function<void()>>;

  template <typename When>
  Id Add(Timers<When>& timers, When when, std::function<void()> fn) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // When the next timer is due, which of the two it is of, and whether that time has come. All by
  // one look: where the time of day jumps between two, what is not due would seem so.
  struct Next {
    MonotonicTime when;
    bool of_day;
    bool due;
  };
  Next FindNext() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Run();

  ThreadRegistry& registry_;
  const Clock& clock_;

  Mutex mu_;
  CondVar changed_;
  Timers<MonotonicTime> timers_ ABSL_GUARDED_BY(mu_);
  Timers<absl::Time> timers_of_day_ ABSL_GUARDED_BY(mu_);
  uint64_t next_sequence_ ABSL_GUARDED_BY(mu_) = 0;
  bool registered_ ABSL_GUARDED_BY(mu_) = false;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;

  std::thread thread_;  // last: it uses the others
};

}  // namespace jobpool
