#include "server/query/job_field.h"

#include <array>

namespace jobpool {
namespace {

// In the order of JobField.
constexpr std::array<absl::string_view, 14> kNames = {
    "state",  "kind",        "pool",       "priority", "daemon",      "display_name",  "retry_of",
    "labels", "create_time", "start_time", "end_time", "expire_time", "schedule_time", "deadline_time"};
static_assert(static_cast<size_t>(JobField::kDeadlineTime) + 1 == kNames.size());

std::optional<absl::Time> Finite(absl::Time time) {
  if (time == absl::InfinitePast() || time == absl::InfiniteFuture()) return std::nullopt;
  return time;
}

}  // namespace

absl::string_view JobFieldName(JobField field) { return kNames[static_cast<size_t>(field)]; }

std::optional<JobField> JobFieldNamed(absl::string_view name) {
  for (size_t i = 0; i < kNames.size(); ++i) {
    if (kNames[i] == name) return static_cast<JobField>(i);
  }
  return std::nullopt;
}

std::optional<absl::Time> TimeOf(JobField field, const JobRecord& job) {
  switch (field) {
    case JobField::kCreateTime:
      return job.create_time;
    case JobField::kStartTime:
      if (job.attempts.empty()) return std::nullopt;
      return job.attempts.front().start_time;
    case JobField::kEndTime:
      if (job.outcome == nullptr) return std::nullopt;
      return job.outcome->end_time;
    case JobField::kExpireTime:
      if (job.outcome == nullptr) return std::nullopt;
      return job.ExpireTime();
    case JobField::kScheduleTime:
      return Finite(job.Options().schedule_time);
    case JobField::kDeadlineTime:
      return Finite(job.Options().deadline_time);
    default:
      return std::nullopt;
  }
}

}  // namespace jobpool
