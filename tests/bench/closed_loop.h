#pragma once

#include <functional>

namespace jobpool::bench {

/// Starts one call; `done` is to be called at its end, with whether it went well, on any
/// thread, and when its context is gone: that holds the channel, the last reference to which
/// must not go on a thread of gRPC's own, which would then join itself.
using StartCall = std::function<void(std::function<void(bool)> done)>;

struct LoopResult {
  double per_second = 0;
  double median_seconds = 0;  // of one call
  double p99_seconds = 0;
};

/// Keeps `in_flight` calls open for `seconds`: each end starts the next. Ends the
/// program if a call fails: a figure of failed calls is none.
LoopResult RunClosedLoop(const StartCall& start, int in_flight, double seconds);

}  // namespace jobpool::bench
