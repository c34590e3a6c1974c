#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "jobpool/v1/job.pb.h"
#include "jobpool/v1/job_service.pb.h"
#include "server/job/job_record.h"
#include "server/job/validation.h"
#include "server/pipeline/explanation.h"
#include "server/pipeline/job_reader.h"

namespace jobpool {

/// How much of a job an answer tells.
enum class JobView : unsigned char {
  kFull,
  kWithoutResult,
  kBrief,  // at most about 200 bytes: name, states, times, and the error's code
};

void EncodeJob(const JobRecord& job, const std::optional<Progress::Value>& progress, JobView view,
               v1::Job* encoded);
inline void EncodeJob(const JobSnapshot& job, JobView view, v1::Job* encoded) {
  EncodeJob(job.record, job.progress, view, encoded);
}

/// All of `jobs`, with as much of each as leaves the answer below kMaxAnswerBytes:
/// the smallest view that is needed, the same for all.
void EncodeJobs(const std::vector<JobHandle>& jobs, google::protobuf::RepeatedPtrField<v1::Job>* encoded);

/// Leaves of an encoded job what JobView::kBrief has.
void MakeBrief(v1::Job* job);

/// Jobs that were validated only: without what they get when they are accepted.
void EncodeValidatedJob(const JobRecord& job, JobView view, v1::Job* encoded);
void EncodeValidatedJobs(const std::vector<JobRecord>& jobs,
                         google::protobuf::RepeatedPtrField<v1::Job>* encoded);

/// All but the name.
void EncodeExplanation(const Explanation& explanation, v1::ExplainJobResponse* encoded);

/// The `request_id` of the request, if it has one, with what else it says.
std::optional<RequestKey> DecodeRequestKey(const v1::RetryJobRequest& request, Violations& violations);

/// What a request to submit asks for, with a violation for each field that is out
/// of bounds; `prefix`: the path of the request, empty or with a dot at its end;
/// `now`: what times ahead are measured from. `Request`: SubmitJobRequest or RunJobRequest.
JobSpec DecodeSubmission(const v1::Job* job, const std::string& job_id, const std::string& request_id,
                         absl::string_view prefix, absl::Time now, Violations& violations);
template <typename Request>
JobSpec DecodeSubmission(const Request& request, absl::string_view prefix, absl::Time now,
                         Violations& violations) {
  return DecodeSubmission(request.has_job() ? &request.job() : nullptr, request.job_id(),
                          request.request_id(), prefix, now, violations);
}

/// What `job` asks for, with a violation for each field that is out of bounds;
/// `prefix`: its path in the request (`job`).
JobSpec DecodeJob(const v1::Job& job, absl::string_view prefix, absl::Time now, Violations& violations);

// Each adds a violation of `field` if it is out of its bounds.
uint8_t DecodePriority(int32_t priority, absl::string_view field, Violations& violations);
absl::Time DecodeScheduleTime(const google::protobuf::Timestamp& encoded, absl::Time now,
                              absl::string_view field, Violations& violations);
absl::Time DecodeDeadlineTime(const google::protobuf::Timestamp& encoded, absl::Time now,
                              absl::string_view field, Violations& violations);

Labels DecodeLabels(const google::protobuf::Map<std::string, std::string>& labels, absl::string_view field,
                    Violations& violations);

/// The id in a job's name; empty, with a violation of `field`, if it is none.
std::string DecodeJobName(absl::string_view name, absl::string_view field, Violations& violations);

}  // namespace jobpool
