#pragma once

#include "server/pipeline/job_events.h"
#include "server/pipeline/pool_set.h"
#include "server/pipeline/request_ids.h"
#include "server/pipeline/timer.h"
#include "server/store/job_store.h"

namespace jobpool {

/// What has to be done from time to time: once a second it forgets expired jobs
/// and request ids, in small batches, a log of events that nobody watches, and gives work that a pool could
/// not start a worker for another try. Runs on the timer's thread until that stops.
class Upkeep {
 public:
  /// All outlive the timer's thread.
  Upkeep(Timer& timer, JobStore& store, PoolSet& pools, RequestIds& request_ids, JobEvents& events);

 private:
  void Tick();

  Timer& timer_;
  JobStore& store_;
  PoolSet& pools_;
  RequestIds& request_ids_;
  JobEvents& events_;
};

}  // namespace jobpool
