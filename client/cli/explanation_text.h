#pragma once

#include <string>

#include "absl/time/time.h"
#include "jobpool/v1/job_service.pb.h"

// Why a job waits, as people read it.

namespace jobpool::cli {

/// A line for each field; `now` is what times to come are counted from.
std::string ExplanationText(const v1::ExplainJobResponse& explanation, absl::Time now);

}  // namespace jobpool::cli
