#pragma once

#include <memory>

#include "server/handlers/handler.h"

namespace jobpool {

/// Burns CPU time, as the clock of the calling thread counts it.
std::unique_ptr<const Handler> MakeSpinHandler();

}  // namespace jobpool
