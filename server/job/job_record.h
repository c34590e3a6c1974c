#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <sys/types.h>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "server/base/progress.h"
#include "server/base/resource_usage.h"
#include "server/job/bounds.h"
#include "server/job/request_id.h"
#include "server/job/work.h"

namespace jobpool {

// The record of a job: plain values. Whoever holds one that others can see
// guards it; once it has ended it is never changed again and needs no guard.

enum class JobState : unsigned char {
  kScheduled,  // waits for its time
  kQueued,     // ready, waits for a worker
  kRunning,    // a worker is on it
  kSucceeded,  // ended: the work was done
  kFailed,     // ended: the work could not be done
  kCancelled,  // ended: stopped before it was done
};

/// How a job is kept.
enum class Durability : unsigned char {
  kMemory,  // it is gone with the server
  kDisk,    // it is acknowledged, and its end told, when the store has it
};

/// Where a job runs.
enum class Isolation : unsigned char {
  kThread,   // in the server's process
  kProcess,  // in one of its own
};

inline bool IsEnded(JobState state) { return state >= JobState::kSucceeded; }

/// As jobpool.v1.Job.State spells it.
absl::string_view JobStateName(JobState state);

/// The whole state machine: a job goes between SCHEDULED and QUEUED, from QUEUED to
/// RUNNING, from RUNNING to an end or, for another attempt, back to SCHEDULED or, where
/// the server's end has interrupted it, to QUEUED, from all of them to an end, and from
/// an end nowhere.
bool CanFollow(JobState from, JobState to);

/// What was done to end an attempt early.
struct StopStep {
  enum class Action : unsigned char { kAsked, kAbandoned, kTerminated, kKilled };
  Action action = Action::kAsked;
  absl::Time time;
  /// Of kAsked: by whom the job belongs to, so that it shall not run again.
  bool for_good = false;
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
  std::vector<StopStep> stop_steps;              // in their order

  void Close(absl::Time when, ResourceUsage used, absl::Status how);
};

/// Sorted by key.
using Labels = std::vector<std::pair<std::string, std::string>>;

/// When an attempt that has failed is followed by another; jobpool.v1.RetryPolicy
/// says how.
struct RetryPolicy {
  int32_t max_attempts = 1;
  absl::Duration initial_backoff = absl::Seconds(1);
  absl::Duration max_backoff = absl::Minutes(5);
  double multiplier = 2;
  double jitter = 0.2;

  /// The wait after the attempt `number`; `random` is uniform in 0 to 1.
  absl::Duration Backoff(int32_t number, double random) const;

  bool operator==(const RetryPolicy&) const = default;
};

/// What few jobs say about themselves; immutable, so that records share it.
struct JobOptions {
  std::string display_name;  // empty: `Job-N`
  Labels labels;
  absl::Duration retention = kDefaultRetention;
  absl::Duration timeout = absl::InfiniteDuration();  // that: none
  absl::Time deadline_time = absl::InfiniteFuture();  // that: none
  absl::Time schedule_time = absl::InfinitePast();    // that: none was asked for
  absl::Time ready_time =
      absl::InfinitePast();  // of a job that was ever SCHEDULED or interrupted: when it is or was ready
  RetryPolicy retry;
  std::string retry_of;  // the id of the job that it was made from; empty: of none

  /// About what it holds in memory, with itself.
  size_t Bytes() const;

  bool operator==(const JobOptions&) const = default;
};

/// How a job ended; immutable, so that records share it.
struct Outcome {
  absl::Time end_time;
  std::optional<Result> result;  // of a job that succeeded, or of work that gave some before it failed
  absl::Status error;            // of one that did not
  std::optional<Progress::Value> progress;
};

/// Kept small: a million of them may wait. See docs/benchmarks.md.
struct JobRecord {
  std::string id;
  uint64_t number = 0;  // the N of `Job-N`; 0: not accepted yet
  Work work;
  std::shared_ptr<const std::string> pool;  // its name, shared by all its jobs
  absl::Time create_time;
  std::shared_ptr<const JobOptions> options;  // null: the defaults
  std::shared_ptr<const Outcome> outcome;     // of an ended job
  std::vector<Attempt> attempts;
  JobState state = JobState::kQueued;
  bool daemon = false;
  Durability durability : 4 = Durability::kMemory;
  Isolation isolation : 4 = Isolation::kThread;
  uint8_t priority = kDefaultPriority;
  uint32_t revision = 1;  // counts the changes, but for progress

  /// When it became, or becomes, ready to run.
  absl::Time ReadyTime() const { return std::max(create_time, Options().ready_time); }

  /// Differs whenever the record does.
  std::string Etag() const;

  /// What was asked for, or the default.
  std::string DisplayName() const;
  const JobOptions& Options() const;

  /// About what it holds in memory, with itself.
  size_t Bytes() const;

  /// When the ended job may be forgotten. REQUIRES: it has ended.
  absl::Time ExpireTime() const { return outcome->end_time + Options().retention; }

  /// QUEUED to RUNNING. Returns false, and changes nothing, from any other state.
  bool Start(Attempt attempt);

  /// SCHEDULED to QUEUED. Returns false, and changes nothing, from any other state.
  bool MakeReady();

  /// RUNNING to SCHEDULED, until `ready_time`: the attempt has ended with `error`.
  /// Returns false, and changes nothing, from any other state.
  bool Retry(absl::Time end_time, ResourceUsage usage, absl::Status error, absl::Time ready_time);

  /// RUNNING to QUEUED: the attempt was interrupted by the server's end, which `error`
  /// says. It does not count. Returns false, and changes nothing, from any other state.
  bool Interrupt(absl::Time end_time, ResourceUsage usage, absl::Status error);

  /// The attempts that count against the retry policy.
  int32_t CountedAttempts() const;

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
  /// Whom a full queue knows again, by a number other than 0; null: it need not. Called,
  /// if at all, before the submission returns.
  std::function<uint64_t()> caller;
  Work work;
  std::string pool;
  bool daemon = false;
  std::optional<Durability> durability;  // nothing: as the server is told
  Isolation isolation = Isolation::kThread;
  uint8_t priority = kDefaultPriority;
  JobOptions options;
};

}  // namespace jobpool
