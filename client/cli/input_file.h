#pragma once

#include <cstddef>
#include <string>

#include "absl/status/statusor.h"

namespace jobpool::cli {

/// All of the file at `path`, or of standard input where that is `-`. INVALID_ARGUMENT with
/// one line for people: it cannot be read, or has more than `max_bytes`.
absl::StatusOr<std::string> ReadInput(const std::string& path, size_t max_bytes);

}  // namespace jobpool::cli
