#include "server/job/job_record.h"

#include "absl/strings/str_cat.h"

namespace jobpool {

absl::string_view JobStateName(JobState state) {
  switch (state) {
    case JobState::kQueued:
      return "QUEUED";
    case JobState::kRunning:
      return "RUNNING";
    case JobState::kSucceeded:
      return "SUCCEEDED";
    case JobState::kFailed:
      return "FAILED";
    case JobState::kCancelled:
      return "CANCELLED";
  }
  return "";
}

bool CanFollow(JobState from, JobState to) {
  switch (from) {
    case JobState::kQueued:
      // Without a run there is nothing that could have succeeded.
      return to == JobState::kRunning || to == JobState::kFailed || to == JobState::kCancelled;
    case JobState::kRunning:
      return IsEnded(to);
    case JobState::kSucceeded:
    case JobState::kFailed:
    case JobState::kCancelled:
      return false;
  }
  return false;
}

std::string JobRecord::DisplayName() const {
  if (options != nullptr && !options->display_name.empty()) return options->display_name;
  return absl::StrCat("Job-", number);
}

const JobOptions& JobRecord::Options() const {
  static const JobOptions* const defaults = new JobOptions;
  return options != nullptr ? *options : *defaults;
}

size_t JobOptions::Bytes() const {
  size_t bytes = sizeof(JobOptions) + display_name.size();
  for (const auto& [key, value] : labels) bytes += sizeof(Labels::value_type) + key.size() + value.size();
  return bytes;
}

size_t JobRecord::Bytes() const {
  size_t bytes = sizeof(JobRecord) + HeapBytes(work) + attempts.size() * sizeof(Attempt);
  if (options != nullptr) bytes += options->Bytes();
  if (outcome != nullptr) {
    bytes += sizeof(Outcome);
    if (outcome->result.has_value()) bytes += HeapBytes(*outcome->result);
  }
  return bytes;
}

bool JobRecord::Start(Attempt attempt) {
  if (!CanFollow(state, JobState::kRunning)) return false;
  state = JobState::kRunning;
  attempt.number = static_cast<int32_t>(attempts.size()) + 1;
  if (attempts.empty()) attempts.reserve(1);
  attempts.push_back(std::move(attempt));
  return true;
}

bool JobRecord::End(JobState end, ResourceUsage usage, Outcome how) {
  if (!CanFollow(state, end)) return false;
  if (state == JobState::kRunning) {
    Attempt& attempt = attempts.back();
    attempt.end_time = how.end_time;
    attempt.usage = usage;
    attempt.error = how.error;
  }
  state = end;
  outcome = std::make_shared<const Outcome>(std::move(how));
  return true;
}

}  // namespace jobpool
