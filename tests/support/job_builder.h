#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "server/job/job_record.h"
#include "server/pipeline/live_job.h"
#include "server/store/job_store.h"

namespace jobpool {

/// A queued job that sleeps for no time, created at second `created` of the epoch.
/// With a number of its own, as stores know jobs by it.
inline JobRecord MakeRecord(absl::string_view id, int64_t created = 0) {
  static std::atomic<uint64_t> last_number{0};
  JobRecord record;
  record.number = ++last_number;
  record.id = std::string(id);
  record.work = SleepWork{};
  record.pool = std::make_shared<const std::string>("blocking");
  record.create_time = absl::FromUnixSeconds(created);
  return record;
}

inline std::shared_ptr<LiveJob> MakeJob(absl::string_view id, int64_t created = 0) {
  return std::make_shared<LiveJob>(MakeRecord(id, created));
}

/// Gives the job another name.
inline std::optional<JobSnapshot> Rename(LiveJob& job, absl::string_view name, JobEvents* events = nullptr) {
  const auto change = [&](JobRecord& record) {
    auto options = std::make_shared<JobOptions>(record.Options());
    options->display_name = std::string(name);
    record.options = std::move(options);
    return true;
  };
  return job.Update(change, events);
}

inline Outcome MakeOutcome(absl::Time end_time) {
  Outcome outcome;
  outcome.end_time = end_time;
  return outcome;
}

/// One that was cancelled at second `ended`, kept for `retention` from then.
inline EndedJob MakeEnded(absl::string_view id, int64_t created, int64_t ended,
                          absl::Duration retention = kDefaultRetention) {
  JobRecord record = MakeRecord(id, created);
  JobOptions options;
  options.retention = retention;
  record.options = std::make_shared<const JobOptions>(std::move(options));
  record.End(JobState::kCancelled, {}, MakeOutcome(absl::FromUnixSeconds(ended)));
  return std::make_shared<const JobRecord>(std::move(record));
}

/// What is asked for of a pipeline.
inline JobSpec SleepSpec(absl::Duration duration, absl::string_view id = "") {
  JobSpec spec;
  spec.id = std::string(id);
  spec.work = SleepWork{duration};
  return spec;
}

inline JobSpec NoopSpec(absl::string_view id = "") {
  JobSpec spec;
  spec.id = std::string(id);
  spec.work = NoopWork{};
  return spec;
}

}  // namespace jobpool
