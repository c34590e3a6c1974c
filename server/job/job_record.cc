#include "server/job/job_record.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/job/errors.h"

namespace jobpool {
namespace {

bool IsInterrupted(const Attempt& attempt) { return ReasonOf(attempt.error) == "INTERRUPTED"; }

}  // namespace

absl::string_view JobStateName(JobState state) {
  switch (state) {
    case JobState::kScheduled:
      return "SCHEDULED";
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
  // Without a run there is nothing that could have succeeded.
  const bool end_without_run = to == JobState::kFailed || to == JobState::kCancelled;
  switch (from) {
    case JobState::kScheduled:
      return to == JobState::kQueued || end_without_run;
    case JobState::kQueued:
      return to == JobState::kScheduled || to == JobState::kRunning || end_without_run;
    case JobState::kRunning:
      return to == JobState::kScheduled || to == JobState::kQueued || IsEnded(to);
    case JobState::kSucceeded:
    case JobState::kFailed:
    case JobState::kCancelled:
      return false;
  }
  return false;
}

absl::Duration RetryPolicy::Backoff(int32_t number, double random) const {
  absl::Duration backoff = initial_backoff;
  for (int32_t i = 1; i < number && backoff < max_backoff; ++i) backoff *= multiplier;
  return std::min(backoff, max_backoff) * (1 + jitter * (2 * random - 1));
}

void Attempt::Close(absl::Time when, ResourceUsage used, absl::Status how) {
  end_time = when;
  usage = used;
  error = std::move(how);
}

// Ids can be used again when their job was deleted: hence with the time.
std::string JobRecord::Etag() const {
  return absl::StrCat(absl::Hex(absl::ToUnixNanos(create_time)), "-", revision);
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
  size_t bytes = sizeof(JobOptions) + display_name.size() + retry_of.size();
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
  attempt.number = attempts.empty() ? 1 : attempts.back().number + 1;
  if (attempts.empty()) attempts.reserve(1);
  attempts.push_back(std::move(attempt));
  ++revision;
  return true;
}

bool JobRecord::MakeReady() {
  if (state != JobState::kScheduled) return false;
  state = JobState::kQueued;
  ++revision;
  return true;
}

bool JobRecord::Retry(absl::Time end_time, ResourceUsage usage, absl::Status error, absl::Time ready_time) {
  if (state != JobState::kRunning) return false;
  attempts.back().Close(end_time, usage, std::move(error));
  auto changed = std::make_shared<JobOptions>(Options());
  changed->ready_time = ready_time;
  options = std::move(changed);
  state = JobState::kScheduled;
  ++revision;
  return true;
}

bool JobRecord::Interrupt(absl::Time end_time, ResourceUsage usage, absl::Status error) {
  if (state != JobState::kRunning) return false;
  attempts.back().Close(end_time, usage, std::move(error));
  // Servers may end ever so often: the oldest of those that do not count gives way.
  if (attempts.size() >= kMaxAttempts) {
    attempts.erase(std::find_if(attempts.begin(), attempts.end(), IsInterrupted));
  }
  auto changed = std::make_shared<JobOptions>(Options());
  changed->ready_time = end_time;  // it waits from now on
  options = std::move(changed);
  state = JobState::kQueued;
  ++revision;
  return true;
}

int32_t JobRecord::CountedAttempts() const {
  return static_cast<int32_t>(attempts.size() -
                              std::count_if(attempts.begin(), attempts.end(), IsInterrupted));
}

bool JobRecord::End(JobState end, ResourceUsage usage, Outcome how) {
  if (!CanFollow(state, end)) return false;
  if (state == JobState::kRunning) attempts.back().Close(how.end_time, usage, how.error);
  state = end;
  ++revision;
  outcome = std::make_shared<const Outcome>(std::move(how));
  return true;
}

}  // namespace jobpool
