#pragma once

#include <memory>

#include "server/handlers/handler.h"

namespace jobpool {

/// Computes pi with GMP, by the series of the Chudnovsky brothers.
std::unique_ptr<const Handler> MakePiHandler();

}  // namespace jobpool
