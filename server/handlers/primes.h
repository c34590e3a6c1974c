#pragma once

#include <memory>

#include "server/handlers/handler.h"

namespace jobpool {

/// Counts primes with primesieve.
std::unique_ptr<const Handler> MakePrimesHandler();

}  // namespace jobpool
