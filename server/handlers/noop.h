#pragma once

#include <memory>

#include "server/handlers/handler.h"

namespace jobpool {

/// Hands the payload back, at once and even when cancelled.
std::unique_ptr<const Handler> MakeNoopHandler();

}  // namespace jobpool
