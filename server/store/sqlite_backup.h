#pragma once

#include <string>

#include "absl/status/status.h"

namespace jobpool {

/// Copies the store's file at `from`, as it is at one moment, to `to`, which gets its
/// name when it is whole and on the disk. The store may be written to meanwhile; its log
/// grows until the copy is done. ALREADY_EXISTS: there is a file `to`. `vfs`: as in
/// SqliteOptions.
absl::Status BackUpSqlite(const std::string& from, const std::string& to, const std::string& vfs);

}  // namespace jobpool
