#pragma once

#include <memory>
#include <optional>

#include "absl/status/statusor.h"
#include "server/base/clock.h"
#include "server/handlers/registry.h"
#include "server/pipeline/job_events.h"
#include "server/pipeline/job_log.h"
#include "server/pipeline/live_job.h"
#include "server/workers/process_pool.h"
#include "server/workers/thread_registry.h"

namespace jobpool {

/// What came of an attempt.
struct AttemptEnd {
  absl::StatusOr<Result> result;
  std::optional<Result> result_of_failure = {};
  ResourceUsage usage = {};
};

/// Does the work of attempts, each where its job asks for it: on the calling thread, or in a process while
/// that thread waits. Thread-safe.
class AttemptRunner {
 public:
  using Process = std::unique_ptr<ProcessPool::Lease>;

  /// All outlive it. `processes`: null: there are none.
  AttemptRunner(const HandlerRegistry& handlers, ProcessPool* processes, const ThreadRegistry& registry,
                const Clock& clock, JobLog& log, JobEvents& events)
      : handlers_(handlers),
        processes_(processes),
        registry_(registry),
        clock_(clock),
        log_(log),
        events_(events) {}

  /// The process for an attempt of `job`; null: it needs none. An error: why there is none, which is how the
  /// attempt ends.
  absl::StatusOr<Process> TakeProcess(const LiveJob& job) const;

  /// Does the work, from its start to its end. REQUIRES: `job` runs under `control`; `process` is from
  /// TakeProcess.
  AttemptEnd Run(LiveJob& job, RunControl& control, const AttemptInfo& attempt,
                 const absl::StatusOr<Process>& process) const;

 private:
  AttemptEnd RunHere(LiveJob& job, RunControl& control, const AttemptInfo& attempt) const;
  AttemptEnd RunIn(ProcessPool::Lease& process, LiveJob& job, RunControl& control,
                   const AttemptInfo& attempt) const;

  const HandlerRegistry& handlers_;
  ProcessPool* const processes_;
  const ThreadRegistry& registry_;
  const Clock& clock_;
  JobLog& log_;
  JobEvents& events_;
};

}  // namespace jobpool
