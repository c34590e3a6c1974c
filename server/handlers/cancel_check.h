#pragma once

#include "absl/status/status.h"
#include "server/base/cancel_token.h"

namespace jobpool {

/// The status that a handler ends with once `cancel` is cancelled, OK before
/// that. Cheap enough for an inner loop.
inline absl::Status CheckCancel(const CancelToken& cancel) {
  if (cancel.cancelled()) return absl::CancelledError("cancelled before it was done");
  return absl::OkStatus();
}

}  // namespace jobpool
