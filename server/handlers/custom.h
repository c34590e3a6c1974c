#pragma once

#include <memory>

#include "server/handlers/handler.h"
#include "server/handlers/plugins.h"

namespace jobpool {

/// Runs the kinds of `plugins`, which outlives it; null: there are none. REQUIRES, of Run: nothing but that
/// the bounds of the work are kept: a kind that there is not is an error of the work.
std::unique_ptr<const Handler> MakeCustomHandler(const Plugins* plugins);

}  // namespace jobpool
