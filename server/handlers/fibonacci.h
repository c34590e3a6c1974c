#pragma once

#include <memory>

#include "server/handlers/handler.h"

namespace jobpool {

/// Computes Fibonacci numbers with GMP.
std::unique_ptr<const Handler> MakeFibonacciHandler();

}  // namespace jobpool
