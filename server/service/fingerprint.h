#pragma once

#include <string>

#include "jobpool/v1/job.pb.h"
#include "server/job/request_id.h"

namespace jobpool {

/// Of what a request to submit asks for: the same in every process, for equal
/// messages. The first 128 bits of a SHA-256.
Fingerprint FingerprintOf(const v1::Job& job, const std::string& job_id);

}  // namespace jobpool
