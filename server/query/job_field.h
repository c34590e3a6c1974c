#pragma once

#include <optional>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "server/job/job_record.h"

namespace jobpool {

/// What filters and orders can name of a job.
enum class JobField : unsigned char {
  kState,
  kKind,
  kPool,
  kPriority,
  kDaemon,
  kDisplayName,
  kRetryOf,
  kLabels,
  kCreateTime,
  kStartTime,
  kEndTime,
  kExpireTime,
  kScheduleTime,
  kDeadlineTime,
};

/// As callers spell it.
absl::string_view JobFieldName(JobField field);

/// Nothing: no field is called that.
std::optional<JobField> JobFieldNamed(absl::string_view name);

inline bool IsTime(JobField field) { return field >= JobField::kCreateTime; }

/// Nothing: the job does not have it. REQUIRES: `field` is a time.
std::optional<absl::Time> TimeOf(JobField field, const JobRecord& job);

/// What a job shares with many others: all that is the same in them.
struct Facet {
  JobState state = JobState::kQueued;
  Kind kind = Kind::kNoop;
  int priority = kDefaultPriority;
  std::optional<bool> daemon = std::nullopt;  // nothing: some of them are, or may be
  absl::string_view pool;
};

}  // namespace jobpool
