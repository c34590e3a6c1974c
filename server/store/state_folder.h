#pragma once

#include <string>
#include <unistd.h>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"

namespace jobpool {

/// Makes the folder `path` where there is none, and those above it, each its user's alone
/// and on the disk when this returns. `sync`: fsync. FAILED_PRECONDITION: it cannot be
/// made; a folder that could not be synchronized is not left behind.
absl::Status MakeStateFolder(const std::string& path, absl::FunctionRef<int(int)> sync = fsync);

}  // namespace jobpool
