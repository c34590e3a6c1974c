#pragma once

#include <memory>

#include "server/handlers/handler.h"

namespace jobpool {

/// Sleeps on the monotonic clock; wakes only to say how far it is.
std::unique_ptr<const Handler> MakeSleepHandler();

}  // namespace jobpool
