#pragma once

#include "jobpool/v1/job_service.grpc.pb.h"

namespace jobpool::bench {

/// No-ops held in memory through one call of StreamJobs, kBatch to a message, to their ends: how many a
/// second, over `seconds`. Ends the program if one fails.
double StreamJobsPerSecond(v1::JobService::Stub& stub, double seconds);

}  // namespace jobpool::bench
