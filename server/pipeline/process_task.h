#pragma once

#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "server/handlers/registry.h"
#include "server/pipeline/live_job.h"
#include "server/process/worker.h"

namespace jobpool {

// The work of a job as a task of a worker process.

/// `thread` and `thread_display_name`: of the worker, as roll call shows it.
std::string EncodeTask(const LiveJob& job, const AttemptInfo& attempt, absl::string_view thread,
                       absl::string_view thread_display_name);

/// What came of a task of that kind; an error: why the work failed, as printable text. Of what a process says
/// nothing is believed: nothing where `answer` is none.
std::optional<absl::StatusOr<Result>> DecodeAnswer(absl::string_view answer, Kind kind);

/// Does a task, in the worker process, and returns its answer.
std::string RunTask(const HandlerRegistry& handlers, absl::string_view task, WorkerContext& context);

}  // namespace jobpool
