#pragma once

#include "absl/status/statusor.h"
#include "server/handlers/handler.h"

namespace jobpool {

/// Runs a handler; what it throws is an error: RESOURCE_EXHAUSTED where memory ran out, else
/// INTERNAL.
absl::StatusOr<Result> RunHandler(const Handler& handler, const Work& work, HandlerContext& context);

}  // namespace jobpool
