#pragma once

#include "absl/time/time.h"
#include "server/base/clock.h"
#include "server/pipeline/pipeline.h"

namespace jobpool {

/// Brings the jobs to their end: takes no more, cancels those that are daemons,
/// waits for the others, for `timeout` at most or until `hurry` becomes readable
/// (a second wish to stop), then cancels what is left and gives it 5 s. Returns
/// whether all have ended. Called once.
bool DrainJobs(Pipeline& pipeline, absl::Duration timeout, int hurry);

/// Returns when `descriptor` is readable, at `deadline` at the latest.
void AwaitReadable(int descriptor, MonotonicTime deadline);

}  // namespace jobpool
