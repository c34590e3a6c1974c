#pragma once

#include <memory>

#include "absl/time/time.h"
#include "server/base/clock.h"
#include "server/base/event.h"
#include "server/pipeline/pipeline.h"

namespace jobpool {

/// Brings the jobs to their end. Not thread-safe.
class JobDrain {
 public:
  /// From here on every submission is refused. `pipeline` outlives it.
  explicit JobDrain(Pipeline& pipeline);

  /// Cancels the jobs that are daemons, waits for the others, for `timeout` at most
  /// or until `hurry` becomes readable (a second wish to stop), then cancels what is
  /// left and gives it 5 s. Returns whether all have ended. Called once.
  bool Await(absl::Duration timeout, int hurry);

 private:
  Pipeline& pipeline_;
  const std::shared_ptr<Event> empty_;  // shared: the last job may raise it after this is gone
};

/// Returns when `descriptor` is readable, at `deadline` at the latest.
void AwaitReadable(int descriptor, MonotonicTime deadline);

}  // namespace jobpool
