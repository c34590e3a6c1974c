#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <optional>
#include <set>

#include "absl/status/status.h"
#include "server/base/mutex.h"
#include "server/base/rate_limiter.h"
#include "server/job/work.h"
#include "server/pipeline/timer.h"

namespace jobpool {

/// Starts are spread evenly, but for what a late timer has to catch up with; callers
/// may come with a second's worth at once.
inline constexpr absl::Duration kStartBurst = absl::Milliseconds(100);
inline constexpr absl::Duration kSubmitBurst = absl::Seconds(1);

/// Limits of the jobs of one kind, over all pools; 0: none.
struct KindOptions {
  int64_t max_running_jobs = 0;
  double max_starts_per_second = 0;
  double max_submits_per_second = 0;
};
using KindOptionsByKind = std::array<KindOptions, kKindCount>;

/// Is told that jobs of a kind that was held up may start again.
class HeldUp {
 public:
  virtual ~HeldUp() = default;

  /// Called without locks held: be short.
  virtual void LetGo(Kind kind) = 0;
};

/// Keeps the limits of kinds. Thread-safe; of kinds without limits it takes no lock.
class KindLimits {
 public:
  /// `timer` outlives it.
  KindLimits(Timer& timer, const KindOptionsByKind& options);

  /// Jobs that run go on. `options` count from now on; whoever is held up is told.
  void Reconfigure(const KindOptionsByKind& options);

  /// Counts one more that runs. False: not now, and `held_up` is told when it may be;
  /// it outlives that.
  bool TryStart(Kind kind, HeldUp& held_up);

  /// One that TryStart has counted runs no more.
  void Ended(Kind kind);

  /// RESOURCE_EXHAUSTED: too many were submitted within the last second.
  absl::Status TrySubmit(Kind kind, int64_t jobs);
  /// Those that TrySubmit has counted were not accepted after all.
  void TakeBack(Kind kind, int64_t jobs);

  KindOptions options(Kind kind) const;

 private:
  struct Limit {
    std::atomic<bool> limits_starts{false};
    std::atomic<bool> limits_submits{false};
    std::atomic<int64_t> running{0};

    mutable Mutex mu;
    KindOptions options ABSL_GUARDED_BY(mu);
    RateLimiter starts ABSL_GUARDED_BY(mu){kStartBurst, 0};
    RateLimiter submits ABSL_GUARDED_BY(mu){kSubmitBurst, 0};
    std::set<HeldUp*> held_up ABSL_GUARDED_BY(mu);
    std::optional<Timer::Id> timer ABSL_GUARDED_BY(mu);  // at the next start that the rate lets pass
  };

  Limit& Of(Kind kind) { return limits_[static_cast<size_t>(kind)]; }
  void LetGo(Kind kind);

  Timer& timer_;
  std::array<Limit, kKindCount> limits_;
};

}  // namespace jobpool
