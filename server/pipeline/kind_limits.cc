#include "server/pipeline/kind_limits.h"

#include <algorithm>
#include <string>
#include <utility>

#include "server/job/errors.h"

namespace jobpool {

KindLimits::KindLimits(Timer& timer, const KindOptionsByKind& options) : timer_(timer) {
  Reconfigure(options);
}

void KindLimits::Reconfigure(const KindOptionsByKind& options) {
  for (size_t i = 0; i < kKindCount; ++i) {
    Limit& limit = limits_[i];
    {
      MutexLock lock(limit.mu);
      limit.options = options[i];
      if (limit.timer.has_value()) timer_.Cancel(*std::exchange(limit.timer, std::nullopt));
      limit.starts.SetRate(options[i].max_starts_per_second);
      limit.submits.SetRate(options[i].max_submits_per_second);
      limit.limits_starts.store(options[i].max_running_jobs > 0 || limit.starts.limited());
      limit.limits_submits.store(limit.submits.limited());
    }
    LetGo(static_cast<Kind>(i));
  }
}

bool KindLimits::TryStart(Kind kind, HeldUp& held_up) {
  Limit& limit = Of(kind);
  if (!limit.limits_starts.load()) {
    limit.running.fetch_add(1);
    return true;
  }
  MutexLock lock(limit.mu);
  const int64_t max = limit.options.max_running_jobs;
  // Ended counts down before it looks, under this lock, who is held up.
  if (max > 0 && limit.running.load() >= max) {
    limit.held_up.insert(&held_up);
    return false;
  }
  if (!limit.starts.Take(timer_.Now())) {
    limit.held_up.insert(&held_up);
    if (!limit.timer.has_value()) {
      limit.timer = timer_.At(limit.starts.NextTime(timer_.Now()), [this, kind] {
        {
          MutexLock timer_lock(Of(kind).mu);
          Of(kind).timer.reset();
        }
        LetGo(kind);
      });
    }
    return false;
  }
  limit.running.fetch_add(1);
  return true;
}

void KindLimits::Ended(Kind kind) {
  Limit& limit = Of(kind);
  limit.running.fetch_sub(1);
  if (limit.limits_starts.load()) LetGo(kind);
}

void KindLimits::LetGo(Kind kind) {
  std::set<HeldUp*> held_up;
  {
    MutexLock lock(Of(kind).mu);
    held_up.swap(Of(kind).held_up);
  }
  for (HeldUp* const one : held_up) one->LetGo(kind);
}

absl::Status KindLimits::TrySubmit(Kind kind, int64_t jobs) {
  Limit& limit = Of(kind);
  if (jobs == 0 || !limit.limits_submits.load()) return absl::OkStatus();
  MutexLock lock(limit.mu);
  const MonotonicTime now = timer_.Now();
  if (limit.submits.Take(now, jobs)) return absl::OkStatus();
  return RateReachedError(KindName(kind), limit.submits.rate(),
                          absl::FromChrono(limit.submits.NextTime(now, jobs) - now));
}

void KindLimits::TakeBack(Kind kind, int64_t jobs) {
  Limit& limit = Of(kind);
  if (jobs == 0 || !limit.limits_submits.load()) return;
  MutexLock lock(limit.mu);
  limit.submits.GiveBack(jobs);
}

KindOptions KindLimits::options(Kind kind) const {
  const Limit& limit = limits_[static_cast<size_t>(kind)];
  MutexLock lock(limit.mu);
  return limit.options;
}

}  // namespace jobpool
