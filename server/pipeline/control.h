#pragma once

#include <functional>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/base/cancel_token.h"
#include "server/base/clock.h"
#include "server/base/mutex.h"
#include "server/pipeline/job_reader.h"
#include "server/pipeline/job_timers.h"
#include "server/pipeline/pool_set.h"
#include "server/workers/thread_registry.h"

namespace jobpool {

/// What UpdateJob changes; what is unset stays.
struct JobUpdate {
  std::optional<std::string> display_name = {};
  std::optional<Labels> labels = {};
  std::optional<uint8_t> priority = {};
  std::optional<absl::Time> schedule_time = {};  // the infinite past: none any more
  std::optional<absl::Time> deadline_time = {};  // the infinite future: none any more
  std::string etag = {};                         // that of the job which it is for; empty: whichever

  /// Whether it changes what only a job that does not run can have changed.
  bool ChangesPlan() const { return priority || schedule_time || deadline_time; }
};

/// What callers do to jobs after they were accepted. Thread-safe.
class Control {
 public:
  /// All outlive it.
  Control(JobTable& table, JobStore& store, const JobReader& reader, PoolSet& pools, JobTimers& timers,
          ThreadRegistry& registry, JobEvents& events, const Clock& clock)
      : table_(table),
        store_(store),
        reader_(reader),
        pools_(pools),
        timers_(timers),
        registry_(registry),
        events_(events),
        clock_(clock) {}

  /// Ends a job that waits, asks a running one to end. NOT_FOUND; FAILED_PRECONDITION: it
  /// has ended.
  absl::StatusOr<std::shared_ptr<LiveJob>> Cancel(const std::string& id);

  /// Calls back when all that was done to a job is kept, at once and on this thread if it
  /// is not kept on disk; UNAVAILABLE: the store refuses.
  void AwaitKept(const std::shared_ptr<LiveJob>& job, StoreWriter::Done done) const;

  /// As Cancel for a job at hand; nothing happens if it has ended.
  void Cancel(const std::shared_ptr<LiveJob>& job, CancelReason reason);

  using Updated = std::function<void(const absl::StatusOr<JobSnapshot>&)>;

  /// Changes a job, and calls back with what it was then when that is kept, at once and on
  /// this thread if it is not kept on disk. NOT_FOUND; FAILED_PRECONDITION: it has ended, or
  /// runs; ABORTED: the etag is that of another state; INVALID_ARGUMENT: the new times do not
  /// go together; UNAVAILABLE: the store refuses.
  void Update(const std::string& id, const JobUpdate& update, Updated done);

  /// What another job like an ended one would ask for. NOT_FOUND;
  /// FAILED_PRECONDITION: it has not ended.
  absl::StatusOr<JobSpec> SpecOfRetry(const std::string& id) const;

  /// Deletes an ended job, and calls back, at once and on this thread if it is not kept on
  /// disk. NOT_FOUND; FAILED_PRECONDITION: it has not ended; UNAVAILABLE or DATA_LOSS: the
  /// store cannot delete it.
  void Delete(const std::string& id, StoreWriter::Done done);

  /// Cancels every live job for which `chosen` is true. Returns how many.
  size_t CancelWhere(const std::function<bool(const LiveJob&)>& chosen, CancelReason reason);

  /// Leaves the jobs that are kept on disk, and do not run, to the next server. Returns
  /// how many.
  size_t LeaveKept();

  /// Cancels the jobs that cannot start before `time`, since they are scheduled for
  /// later or their pool is paused, and those that would be later. Returns how many
  /// now.
  size_t CancelLaterThan(absl::Time time, CancelReason reason);

 private:
  // A job after a change, and its state before.
  struct Changed {
    JobSnapshot job;
    JobState before;
  };

  absl::StatusOr<JobSnapshot> Change(const std::shared_ptr<LiveJob>& job, const JobUpdate& update);
  absl::StatusOr<JobSnapshot> ChangePlan(const std::shared_ptr<LiveJob>& job, const JobUpdate& update);
  // `withdrawn`: it is not in its queue, and cannot start.
  absl::StatusOr<Changed> ChangeRecord(const std::shared_ptr<LiveJob>& job, const JobUpdate& update,
                                       bool withdrawn);
  absl::StatusOr<EndedJob> FindEnded(const std::string& id) const;

  JobTable& table_;
  JobStore& store_;
  const JobReader& reader_;
  PoolSet& pools_;
  JobTimers& timers_;
  ThreadRegistry& registry_;
  JobEvents& events_;
  const Clock& clock_;

  // Held while a job's plan is changed, beginning with its place in the queue: two changes do not take
  // each other's half for the whole. Before all other locks.
  Mutex plan_mu_;
};

}  // namespace jobpool
