#include "server/pipeline/timer.h"

#include <algorithm>

namespace jobpool {

Timer::Timer(ThreadRegistry& registry, const Clock& clock)
    : registry_(registry), clock_(clock), thread_([this] { Run(); }) {
  MutexLock lock(mu_);
  while (!registered_) changed_.Wait(mu_);
}

Timer::~Timer() { Stop(); }

Timer::Id Timer::At(MonotonicTime when, std::function<void()> fn) {
  MutexLock lock(mu_);
  return Add(timers_, when, std::move(fn));
}

Timer::Id Timer::AtTime(absl::Time when, std::function<void()> fn) {
  MutexLock lock(mu_);
  return Add(timers_of_day_, when, std::move(fn));
}

template <typename When>
Timer::Id Timer::Add(Timers<When>& timers, When when, std::function<void()> fn) {
  const auto added = timers.emplace(std::pair(when, next_sequence_++), std::move(fn)).first;
  if (added == timers.begin()) changed_.NotifyOne();
  return added->first;
}

bool Timer::Cancel(const Id& id) {
  std::function<void()> dropped;  // let go of after the lock
  const auto take = [&](auto& timers, const auto& key) {
    const auto found = timers.find(key);
    if (found == timers.end()) return false;
    dropped = std::move(found->second);
    timers.erase(found);
    return true;
  };
  MutexLock lock(mu_);
  return id.index() == 0 ? take(timers_, std::get<0>(id)) : take(timers_of_day_, std::get<1>(id));
}

absl::Duration Timer::UntilNext() const {
  absl::Duration until = absl::InfiniteDuration();
  if (!timers_.empty()) until = absl::FromChrono(timers_.begin()->first.first - clock_.Monotonic());
  if (!timers_of_day_.empty()) until = std::min(until, timers_of_day_.begin()->first.first - clock_.Now());
  return until;
}

std::function<void()> Timer::TakeDue() {
  const auto take = [](auto& timers) {
    std::function<void()> due = std::move(timers.begin()->second);
    timers.erase(timers.begin());
    return due;
  };
  const bool of_day = !timers_of_day_.empty() && timers_of_day_.begin()->first.first <= clock_.Now();
  return of_day || timers_.empty() ? take(timers_of_day_) : take(timers_);
}

void Timer::Stop() {
  {
    MutexLock lock(mu_);
    stopping_ = true;
    changed_.NotifyOne();
  }
  if (thread_.joinable()) thread_.join();
}

void Timer::Run() {
  RegisteredThread thread(registry_, ThreadRole::kService, "");
  {
    MutexLock lock(mu_);
    registered_ = true;
    changed_.NotifyAll();
  }
  for (;;) {
    std::function<void()> due;
    {
      MutexLock lock(mu_);
      for (;;) {
        if (stopping_) return;
        const absl::Duration until = UntilNext();
        if (until <= absl::ZeroDuration()) break;
        clock_.WaitUntil(changed_, mu_, Later(clock_.Monotonic(), until));
      }
      due = TakeDue();
    }
    thread.SetRunning(true);
    due();
    thread.SetRunning(false);
  }
}

}  // namespace jobpool
