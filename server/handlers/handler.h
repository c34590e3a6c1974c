#pragma once

#include "absl/status/statusor.h"
#include "server/base/cancel_token.h"
#include "server/base/progress.h"
#include "server/job/work.h"

namespace jobpool {

/// What a handler is given beside its work. Lives as long as the call of Run.
struct HandlerContext {
  CancelToken& cancel;
  Progress& progress;
};

/// Does one kind of work.
class Handler {
 public:
  virtual ~Handler() = default;

  /// Does `work` on the calling thread, and may be called by many threads at
  /// once. Returns CancelledError within 50 ms after `context.cancel` was
  /// cancelled, unless it is done before that; any other error means that the
  /// work failed, and its message is shown to the caller. What it throws counts
  /// as an INTERNAL error. REQUIRES: `work` holds the alternative of the kind
  /// that the handler was registered for.
  virtual absl::StatusOr<Result> Run(const Work& work, HandlerContext& context) const = 0;
};

}  // namespace jobpool
