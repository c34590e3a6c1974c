#pragma once

#include <functional>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/base/cancel_token.h"
#include "server/base/clock.h"
#include "server/pipeline/completion.h"
#include "server/pipeline/job_reader.h"
#include "server/pipeline/pool_set.h"
#include "server/workers/thread_registry.h"

namespace jobpool {

/// What UpdateJob changes; what is unset stays.
struct JobUpdate {
  std::optional<std::string> display_name;
  std::optional<Labels> labels;
};

/// What callers do to jobs after they were accepted. Thread-safe.
class Control {
 public:
  /// All outlive it.
  Control(JobTable& table, JobStore& store, const JobReader& reader, PoolSet& pools, Completion& completion,
          ThreadRegistry& registry, JobEvents& events, const Clock& clock)
      : table_(table),
        store_(store),
        reader_(reader),
        pools_(pools),
        completion_(completion),
        registry_(registry),
        events_(events),
        clock_(clock) {}

  /// Ends a queued job, asks a running one to end; answers with the job as it
  /// stands then. NOT_FOUND; FAILED_PRECONDITION: it has ended.
  absl::StatusOr<JobSnapshot> Cancel(const std::string& id);

  /// As Cancel for a job at hand; nothing happens if it has ended.
  void Cancel(const std::shared_ptr<LiveJob>& job, CancelReason reason);

  /// NOT_FOUND; FAILED_PRECONDITION: it has ended.
  absl::StatusOr<JobSnapshot> Update(const std::string& id, const JobUpdate& update);

  /// NOT_FOUND; FAILED_PRECONDITION: it has not ended.
  absl::Status Delete(const std::string& id);

  /// Cancels every live job for which `chosen` is true. Returns how many.
  size_t CancelWhere(const std::function<bool(const LiveJob&)>& chosen, CancelReason reason);

 private:
  JobTable& table_;
  JobStore& store_;
  const JobReader& reader_;
  PoolSet& pools_;
  Completion& completion_;
  ThreadRegistry& registry_;
  JobEvents& events_;
  const Clock& clock_;
};

}  // namespace jobpool
