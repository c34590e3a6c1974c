#pragma once

#include <string>

#include "absl/strings/string_view.h"
#include "jobpool/v1/job.pb.h"
#include "server/job/job_record.h"
#include "server/job/validation.h"

namespace jobpool {

/// How much of a job an answer tells.
enum class JobView : unsigned char {
  kFull,
  kWithoutResult,
  kBrief,  // at most about 200 bytes: name, states, times, and the error's code
};

void EncodeJob(const JobSnapshot& job, JobView view, v1::Job* encoded);

/// What `job` asks for, with a violation for each field that is out of bounds;
/// `prefix`: its path in the request (`job`).
JobSpec DecodeJob(const v1::Job& job, absl::string_view prefix, Violations& violations);

Labels DecodeLabels(const google::protobuf::Map<std::string, std::string>& labels, absl::string_view field,
                    Violations& violations);

/// The id in a job's name; empty, with a violation of `field`, if it is none.
std::string DecodeJobName(absl::string_view name, absl::string_view field, Violations& violations);

}  // namespace jobpool
