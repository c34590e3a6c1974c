#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <list>
#include <map>
#include <vector>

#include <gtest/gtest.h>

#include "absl/time/time.h"
#include "server/base/clock.h"
#include "server/base/mutex.h"
#include "server/workers/thread_registry.h"
#include "tests/support/eventually.h"

namespace jobpool {

/// A clock that stands still until it is told to go on. Thread-safe; outlives
/// those that wait by it.
///
/// Lock order: the mutex of who waits, then `mu_`. Advance takes the former
/// without the latter, to be sure that the sleeper really sleeps when it is
/// notified; a sleeper that is pinned by an Advance does not return from
/// WaitUntil before that is done with its condition variable.
class FakeClock final : public Clock {
 public:
  /// 2026-01-01 00:00 UTC, an hour after the machine has started.
  absl::Time Now() const override {
    MutexLock lock(mu_);
    return now_;
  }

  MonotonicTime Monotonic() const override {
    MutexLock lock(mu_);
    return monotonic_;
  }

  void WaitUntil(CondVar& cv, Mutex& mu,
                 MonotonicTime deadline) const override ABSL_NO_THREAD_SAFETY_ANALYSIS {
    Sleeper self{&cv, &mu, deadline};
    {
      MutexLock lock(mu_);
      if (deadline <= monotonic_) return;
      sleepers_.push_back(&self);
      self.wait = ++waits_;
      if (const RegisteredThread* thread = RegisteredThread::Current()) self.thread_id = thread->id();
      changed_cv_.NotifyAll();
    }
    cv.Wait(mu);
    {
      MutexLock lock(mu_);
      sleepers_.remove(&self);
      if (self.pins == 0) return;
    }
    mu.Unlock();
    {
      MutexLock lock(mu_);
      while (self.pins > 0) changed_cv_.Wait(mu_);
    }
    mu.Lock();
  }

  /// Both clocks go on, and whoever waits for a time that has come is woken.
  /// Not from under a lock that a sleeper waits with.
  void Advance(absl::Duration duration) ABSL_NO_THREAD_SAFETY_ANALYSIS {
    std::vector<Sleeper*> due;
    {
      MutexLock lock(mu_);
      now_ += duration;
      monotonic_ = Later(monotonic_, duration);
      for (Sleeper* sleeper : sleepers_) {
        if (sleeper->deadline > monotonic_) continue;
        sleeper->woken = true;
        ++sleeper->pins;
        due.push_back(sleeper);
      }
    }
    for (Sleeper* sleeper : due) {
      sleeper->mu->Lock();
      sleeper->cv->NotifyAll();
      sleeper->mu->Unlock();
    }
    MutexLock lock(mu_);
    for (Sleeper* sleeper : due) --sleeper->pins;
    changed_cv_.NotifyAll();
  }

  /// Sets the time of day alone, as an operator or NTP does.
  void SetNow(absl::Time now) {
    MutexLock lock(mu_);
    now_ = now;
  }

  /// How many threads wait by this clock. (One that somebody else has notified
  /// counts until it wakes.)
  size_t sleepers() const {
    MutexLock lock(mu_);
    return CountSleepers();
  }

  /// How often a thread has begun to wait: who compares two of them sees whether one
  /// was awake between.
  uint64_t waits() const {
    MutexLock lock(mu_);
    return waits_;
  }

  /// The registered threads that wait by this clock: by their ids, which wait it is.
  std::map<uint64_t, uint64_t> WaitsByThread() const {
    MutexLock lock(mu_);
    std::map<uint64_t, uint64_t> waits;
    for (const Sleeper* sleeper : sleepers_) waits[sleeper->thread_id] = sleeper->wait;
    return waits;
  }

  /// Waits until exactly `count` threads wait by this clock, counted likewise.
  void AwaitSleepers(size_t count) const {
    MutexLock lock(mu_);
    AwaitLocked([&]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return CountSleepers() == count; });
  }

  /// Waits until a thread waits for `deadline`.
  void AwaitSleeperUntil(MonotonicTime deadline) const {
    MutexLock lock(mu_);
    AwaitLocked([&]() ABSL_NO_THREAD_SAFETY_ANALYSIS {
      return std::any_of(sleepers_.begin(), sleepers_.end(),
                         [&](const Sleeper* s) { return !s->woken && s->deadline == deadline; });
    });
  }

 private:
  // A thread in WaitUntil; lives on its stack. What changes is guarded by `mu_`.
  struct Sleeper {
    CondVar* cv;
    Mutex* mu;
    MonotonicTime deadline;
    uint64_t wait = 0;       // its number
    uint64_t thread_id = 0;  // 0: not registered
    bool woken = false;      // by Advance: about to leave
    int pins = 0;            // how many Advances are about to notify it
  };

  size_t CountSleepers() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    return static_cast<size_t>(
        std::count_if(sleepers_.begin(), sleepers_.end(), [](const Sleeper* s) { return !s->woken; }));
  }

  template <typename Predicate>
  void AwaitLocked(Predicate holds) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    const auto limit = std::chrono::steady_clock::now() + kTestPatience;
    while (!holds()) {
      if (std::chrono::steady_clock::now() >= limit) {
        ADD_FAILURE() << "the threads that the test expects to wait do not; " << sleepers_.size() << " do";
        return;
      }
      changed_cv_.WaitUntil(mu_, limit);
    }
  }

  mutable Mutex mu_;
  mutable CondVar changed_cv_;
  absl::Time now_ ABSL_GUARDED_BY(mu_) = absl::FromUnixSeconds(1'767'225'600);
  MonotonicTime monotonic_ ABSL_GUARDED_BY(mu_){std::chrono::hours(1)};
  mutable std::list<Sleeper*> sleepers_ ABSL_GUARDED_BY(mu_);
  mutable uint64_t waits_ ABSL_GUARDED_BY(mu_) = 0;
};

}  // namespace jobpool
