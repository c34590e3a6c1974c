#pragma once

#include <functional>
#include <string>

#include "absl/strings/string_view.h"
#include "server/base/cancel_token.h"
#include "server/base/progress.h"

namespace jobpool {

/// What a task is given beside what it has to do. Lives as long as the call.
struct WorkerContext {
  CancelToken& cancel;
  Progress& progress;
  /// Puts a line into the server's log. Thread-safe.
  std::function<void(int level, absl::string_view text)> log;
};

/// Does one task and returns what has come of it. On the main thread.
using WorkerTask = std::function<std::string(absl::string_view task, WorkerContext& context)>;

/// The life of a worker process: does what comes over `socket`, one task after the other,
/// until that is closed. What it is told meanwhile another thread hears. Returns the exit
/// status.
int RunWorker(int socket, const WorkerTask& task);

}  // namespace jobpool
