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

Timer::Next Timer::FindNext() const {
  const MonotonicTime now =
      clock_.Monotonic();  // first: a clock that goes on meanwhile makes us wake too early
  MonotonicTime when = timers_.empty() ? MonotonicTime::max() : timers_.begin()->first.first;
  if (timers_of_day_.empty()) return {when, false, when <= now};
  const absl::Duration until = timers_of_day_.begin()->first.first - clock_.Now();
  const MonotonicTime of_day = until > absl::ZeroDuration() ? Later(now, until) : now;
  // Where both are due, a time of day comes first.
  return of_day <= std::max(when, now) ? Next{of_day, true, of_day <= now} : Next{when, false, when <= now};
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
      Next next = FindNext();
      while (!stopping_ && !next.due) {
        clock_.WaitUntil(changed_, mu_, next.when);
        next = FindNext();
      }
      if (stopping_) return;
      const auto take = [&](auto& timers) {
        due = std::move(timers.begin()->second);
        timers.erase(timers.begin());
      };
      if (next.of_day) {
        take(timers_of_day_);
      } else {
        take(timers_);
      }
    }
    thread.SetRunning(true);
    due();
    thread.SetRunning(false);
  }
}

}  // namespace jobpool
