#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "server/store/sqlite_db.h"

namespace jobpool {

/// What the store's files are marked with: `jpol`.
inline constexpr int64_t kStoreApplicationId = 0x6a706f6c;

/// What brings a file from version I to version I + 1, for I from 0: SQL.
absl::Span<const char* const> StoreMigrations();

/// Makes a new file one of ours, with a write-ahead log, and brings an old one to the
/// version that `migrations` ends with, each step in a transaction of its own.
/// FAILED_PRECONDITION: it is another application's, or newer; it is left as it is.
absl::Status PrepareFile(SqliteConnection& db, absl::Span<const char* const> migrations = StoreMigrations());

/// Of jobs that are kept for so long the column expire_time is NULL.
inline constexpr absl::Duration kCommonRetention = absl::Hours(24);

}  // namespace jobpool
