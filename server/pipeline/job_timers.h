#pragma once

#include <functional>
#include <memory>
#include <optional>

#include "absl/container/flat_hash_map.h"
#include "server/base/mutex.h"
#include "server/pipeline/live_job.h"
#include "server/pipeline/timer.h"

namespace jobpool {

/// The timers of jobs that wait for their time, or have a deadline. Thread-safe; a
/// job without either costs nothing.
class JobTimers {
 public:
  using Call = std::function<void(const std::shared_ptr<LiveJob>&)>;

  /// Called on the timer's thread: `on_ready` when a SCHEDULED job's time has come,
  /// `on_deadline` when a job's deadline has passed. `timer` outlives it.
  JobTimers(Timer& timer, Call on_ready, Call on_deadline)
      : timer_(timer), on_ready_(std::move(on_ready)), on_deadline_(std::move(on_deadline)) {}

  /// Sets the job's timers by what its record says now, in place of those that it
  /// had. To be called whenever that has changed.
  void Arm(const std::shared_ptr<LiveJob>& job);

  /// Drops them. The end of a job does.
  void Disarm(const LiveJob& job);

 private:
  struct Armed {
    std::optional<Timer::Id> ready;
    std::optional<Timer::Id> deadline;
  };

  void Drop(const LiveJob& job) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  Timer& timer_;
  const Call on_ready_;
  const Call on_deadline_;

  Mutex mu_;
  absl::flat_hash_map<const LiveJob*, Armed> armed_ ABSL_GUARDED_BY(mu_);
};

}  // namespace jobpool
