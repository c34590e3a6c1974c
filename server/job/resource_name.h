#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"

namespace jobpool {

// Resource names after AIP-122: `jobs/{id}`, `threads/{id}`, `pools/{id}`.

/// Whether `id` is `[a-z]([a-z0-9-]{0,61}[a-z0-9])?`.
bool IsResourceId(absl::string_view id);

std::string JobName(absl::string_view id);
std::string PoolName(absl::string_view id);
std::string ThreadName(uint64_t id);

/// An id that no thread has.
inline constexpr uint64_t kNoThread = 0;

/// The id in a well-formed name; nothing if it is not one. Ids are opaque: a
/// thread's that we never make is well-formed too, and reads as kNoThread.
std::optional<std::string> ParseJobName(absl::string_view name);
std::optional<std::string> ParsePoolName(absl::string_view name);
std::optional<uint64_t> ParseThreadName(absl::string_view name);

}  // namespace jobpool
