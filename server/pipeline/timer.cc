#include "server/pipeline/timer.h"

namespace jobpool {

Timer::Timer(ThreadRegistry& registry, const Clock& clock)
    : registry_(registry), clock_(clock), thread_([this] { Run(); }) {
  MutexLock lock(mu_);
  while (!registered_) changed_.Wait(mu_);
}

Timer::~Timer() { Stop(); }

Timer::Id Timer::At(MonotonicTime when, std::function<void()> fn) {
  MutexLock lock(mu_);
  const Id id{when, next_sequence_++};
  timers_.emplace(id, std::move(fn));
  if (timers_.begin()->first == id) changed_.NotifyOne();
  return id;
}

bool Timer::Cancel(const Id& id) {
  std::function<void()> dropped;  // let go of after the lock
  MutexLock lock(mu_);
  const auto found = timers_.find(id);
  if (found == timers_.end()) return false;
  dropped = std::move(found->second);
  timers_.erase(found);
  return true;
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
      while (!stopping_ && (timers_.empty() || timers_.begin()->first.first > clock_.Monotonic())) {
        clock_.WaitUntil(changed_, mu_,
                         timers_.empty() ? MonotonicTime::max() : timers_.begin()->first.first);
      }
      if (stopping_) return;
      due = std::move(timers_.begin()->second);
      timers_.erase(timers_.begin());
    }
    thread.SetRunning(true);
    due();
    thread.SetRunning(false);
  }
}

}  // namespace jobpool
