#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <sys/types.h>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "server/base/cancel_token.h"
#include "server/base/progress.h"
#include "server/job/job_record.h"
#include "server/job/validation.h"
#include "server/job/work.h"
#include "server/process/process_use.h"

namespace jobpool {

/// The attempt that a handler's work is.
struct AttemptInfo {
  absl::string_view job_id;
  absl::string_view display_name;  // of the job, as it was at the start
  int32_t number = 1;              // 1 for the first
  absl::Time deadline = absl::InfiniteFuture();
};

/// A thread of ours as work may see it. Valid during the call that it is given to.
struct ThreadView {
  absl::string_view name;  // `threads/…`
  absl::string_view display_name;
  absl::string_view role;
  absl::string_view state;
  absl::string_view pool;  // `pools/…`; empty: of none
  absl::string_view job;   // `jobs/…`; empty: on none
  int64_t process_id = 0;
  int64_t os_thread_id = 0;
};

enum class WorkLogLevel : unsigned char { kDebug, kInfo, kWarning, kError };

/// What the server does for work that runs in it. Thread-safe.
class HandlerHost {
 public:
  using TakeThread = absl::FunctionRef<void(const ThreadView& thread)>;

  virtual ~HandlerHost() = default;

  /// A line in the log, with the job's name. `text`: UTF-8 without control characters.
  virtual void Log(WorkLogLevel level, absl::string_view text) const = 0;

  /// The thread that runs the attempt; nothing if there is none any more.
  virtual void CurrentThread(TakeThread take) const = 0;

  virtual uint64_t ActiveCount() const = 0;

  /// All threads of ours at one moment, oldest first. `take` is called without locks.
  virtual void ForEachThread(TakeThread take) const = 0;
};

/// What a handler is given beside its work. Lives as long as the call of Run.
struct HandlerContext {
  CancelToken& cancel;
  Progress& progress;
  AttemptInfo attempt = {};
  const HandlerHost* host = nullptr;  // null: there is no server around

  // For what else the handler has to say, beside what it returns.

  /// To be called with what a program writes, as it comes, in parts of 64 KiB at most; null: nobody
  /// asks for it.
  std::function<void(OutputStream, absl::string_view)> on_output = {};
  /// What work that fails, or is cancelled, has given all the same.
  std::optional<Result> result_of_failure = {};
  /// To be called with the id of a process that does the work in place of the calling thread, and with each
  /// signal that it is sent to end early; null: nobody asks for it.
  std::function<void(pid_t process_id)> on_program = {};
  std::function<void(int signal)> on_signal = {};
  /// What such a process has used.
  ResourceUsage process_usage = {};
};

/// Does one kind of work.
class Handler {
 public:
  virtual ~Handler() = default;

  /// Adds a violation for what `work`, which is within its bounds, asks for and this server does not have.
  /// `prefix`: the path of the request, empty or with a dot at its end.
  virtual void Check(const Work& /*work*/, absl::string_view /*prefix*/, Violations& /*violations*/) const {}

  /// What process may do `work` where its job asks for one; an error: why none can.
  virtual absl::StatusOr<ProcessUse> UseOf(const Work& /*work*/) const { return ProcessUse::kBuiltIn; }

  /// Does `work` on the calling thread, and may be called by many threads at
  /// once. Returns CancelledError within 50 ms after `context.cancel` was
  /// cancelled, unless it is done before that; any other error means that the
  /// work failed, and its message, and its reason if it has one (server/job/errors.h), is
  /// shown to the caller. What it throws counts
  /// as an INTERNAL error. REQUIRES: `work` holds the alternative of the kind
  /// that the handler was registered for.
  virtual absl::StatusOr<Result> Run(const Work& work, HandlerContext& context) const = 0;
};

}  // namespace jobpool
