#pragma once

#include <optional>
#include <string>

#include "absl/time/time.h"
#include "server/pipeline/job_reader.h"
#include "server/pipeline/pool_set.h"

namespace jobpool {

/// What a job waits for first; jobpool.v1.ExplainJobResponse.Wait says more.
enum class JobWait : unsigned char {
  kNothing,
  kSchedule,
  kBackoff,
  kPause,
  kKindLimit,
  kPoolRate,
  kWorkers,
  kStart
};

/// Why a job does not run, and when it should.
struct Explanation {
  JobState state = JobState::kQueued;
  JobWait wait = JobWait::kNothing;
  std::string text;                           // all of it, for people
  int64_t place = 0;                          // in the queue, 1 is next; 0: it is not there
  std::optional<absl::Time> estimated_start;  // as far as that can be said
  std::string basis;                          // what that rests on, or why there is none
  double drain_rate = 0;                      // starts a second in its pool; 0: not measured yet
};

Explanation Explain(const JobHandle& job, const PoolSet& pools, absl::Time now);

}  // namespace jobpool
