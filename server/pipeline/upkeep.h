#pragma once

#include "server/pipeline/pool_set.h"
#include "server/pipeline/timer.h"
#include "server/store/job_store.h"

namespace jobpool {

/// What has to be done from time to time: once a second it forgets expired jobs,
/// in small batches, and gives work that a pool could not start a worker for
/// another try. Runs on the timer's thread until that stops.
class Upkeep {
 public:
  /// All outlive the timer's thread.
  Upkeep(Timer& timer, JobStore& store, PoolSet& pools);

 private:
  void Tick();

  Timer& timer_;
  JobStore& store_;
  PoolSet& pools_;
};

}  // namespace jobpool
