#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <sys/types.h>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "server/base/progress.h"
#include "server/job/bounds.h"
#include "server/job/request_id.h"
#include "server/job/work.h"

namespace jobpool {

// The record of a job: plain values. Whoever holds one that others can see
// guards it; once it has ended it is never changed again and needs no guard.

enum class JobState : unsigned char {
  kQueued,     // ready, waits for a worker
  kRunning,    // a worker is on it
  kSucceeded,  // ended: the work was done
  kFailed,     // ended: the work could not be done
  kCancelled,  // ended: stopped before it was done
};

inline bool IsEnded(JobState state) { return state >= JobState::kSucceeded; }

/// As jobpool.v1.Job.State spells it.
absl::string_view JobStateName(JobState state);

/// The whole state machine: a job goes from QUEUED to RUNNING or to an end
/// without having run, from RUNNING to an end, and from an end nowhere.
bool CanFollow(JobState from, JobState to);

struct ResourceUsage {
  absl::Duration user_cpu_time;
  absl::Duration system_cpu_time;
};

/// One run of a job by a worker.
struct Attempt {
  int32_t number = 0;  // 1 for the first
  uint64_t thread_id = 0;
  std::string thread_display_name;
  pid_t os_thread_id = 0;
  pid_t process_id = 0;
  absl::Time start_time;
  absl::Time end_time = absl::InfiniteFuture();  // that: not ended
  ResourceUsage usage;                           // of an ended one
  absl::Status error;                            // of an ended one; OK: it succeeded
};

/// Sorted by key.
using Labels = std::vector<std::pair<std::string, std::string>>;

/// What few jobs say about themselves; immutable, so that records share it.
struct JobOptions {
  std::string display_name;  // empty: `Job-N`
  Labels labels;
  absl::Duration retention = kDefaultRetention;

  /// About what it holds in memory, with itself.
  size_t Bytes() const;
};

/// How a job ended; immutable, so that records share it.
struct Outcome {
  absl::Time end_time;
  std::optional<Result> result;  // of a job that succeeded
  absl::Status error;            // of one that did not
  std::optional<Progress::Value> progress;
};

/// Kept small: a million of them may wait. See docs/benchmarks.md.
struct JobRecord {
  std::string id;
  uint64_t number = 0;  // the N of `Job-N`
  Work work;
  std::shared_ptr<const std::string> pool;  // its name, shared by all its jobs
  absl::Time create_time;
  std::shared_ptr<const JobOptions> options;  // null: the defaults
  std::shared_ptr<const Outcome> outcome;     // of an ended job
  std::vector<Attempt> attempts;
  JobState state = JobState::kQueued;
  bool daemon = false;

  /// What was asked for, or the default.
  std::string DisplayName() const;
  const JobOptions& Options() const;

  /// About what it holds in memory, with itself.
  size_t Bytes() const;

  /// When the ended job may be forgotten. REQUIRES: it has ended.
  absl::Time ExpireTime() const { return outcome->end_time + Options().retention; }

  /// QUEUED to RUNNING. Returns false, and changes nothing, from any other state.
  bool Start(Attempt attempt);

  /// To `end`, with the attempt that runs, if one does. Returns false, and
  /// changes nothing, if the job has ended. REQUIRES: `end` is an end.
  bool End(JobState end, ResourceUsage usage, Outcome how);
};

/// A job as it stands at one moment, for whoever asked.
struct JobSnapshot {
  JobRecord record;
  std::optional<Progress::Value> progress;
};

/// What a caller asks for, within its bounds, with the pool chosen.
struct JobSpec {
  std::string id;                     // empty: the server makes one
  std::optional<RequestKey> request;  // set: made once, however often it is asked for
  Work work;
  std::string pool;
  bool daemon = false;
  JobOptions options;
};

}  // namespace jobpool
