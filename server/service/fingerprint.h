#pragma once

#include <string>

#include <google/protobuf/message.h>

#include "server/job/request_id.h"

namespace jobpool {

/// Of what a request for a job says: the same in every process, for equal messages.
/// The first 128 bits of a SHA-256.
Fingerprint FingerprintOf(const google::protobuf::Message& request, const std::string& job_id);

}  // namespace jobpool
