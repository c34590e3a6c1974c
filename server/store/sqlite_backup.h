#pragma once

#include <cstdint>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"

namespace jobpool {

/// What a copy of a store has.
struct SqliteBackup {
  int64_t bytes = 0;
  int64_t live_jobs = 0;
  int64_t ended_jobs = 0;
};

/// Copies the store's file at `from`, as it is at one moment, to `to`, which gets its
/// name when it is whole, has been checked and is on the disk; only who runs this can read
/// it. A server, of this process or another, may write to the store meanwhile; its log
/// grows until the copy is done. The store is not changed, and what SQLite needs beside it
/// belongs to its owner, whoever runs this. `vfs`: as in SqliteOptions. `stop` is asked
/// now and then whether it shall end.
///
/// NOT_FOUND: there is no file `from`. ALREADY_EXISTS: there is a file `to`.
/// FAILED_PRECONDITION: it is no store, or another user's. DATA_LOSS: it is damaged.
/// CANCELLED: `stop` said so. UNAVAILABLE: other errors, such as a full disk.
absl::StatusOr<SqliteBackup> BackUpSqlite(
    const std::string& from, const std::string& to, const std::string& vfs = "",
    absl::FunctionRef<bool()> stop = [] { return false; });

}  // namespace jobpool
