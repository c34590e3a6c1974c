#pragma once

#include <cstdint>
#include <functional>

#include "absl/strings/string_view.h"
#include "server/job/job_record.h"
#include "server/job/validation.h"
#include "server/pipeline/pipeline.h"

namespace jobpool {

// What all calls that submit do with a request that was decoded.

/// Adds a violation for what `spec` asks for and the server does not have, unless the same
/// request has made its job before: it may have had that then. `prefix`: as of
/// DecodeSubmission. May block where there is a request_id.
void CheckOffered(Pipeline& pipeline, const JobSpec& spec, absl::string_view prefix, Violations& violations);

/// Says who asks: a request by its request_id or the id of its job, others by
/// `connection`, that of the connection that they come on.
void SetCaller(std::function<uint64_t()> connection, JobSpec& spec);

}  // namespace jobpool
