#pragma once

#include <memory>
#include <thread>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "server/app/config.h"
#include "server/store/layered_store.h"
#include "server/store/memory_store.h"
#include "server/store/sqlite_backup.h"
#include "server/store/sqlite_store.h"
#include "server/workers/thread_registry.h"

namespace jobpool {

/// Where a server keeps jobs.
class Stores {
 public:
  /// Opens what `config` names; makes the state folder where there is none. The limits are
  /// those of the store in memory. FAILED_PRECONDITION, UNAVAILABLE or DATA_LOSS: it
  /// cannot be opened.
  static absl::StatusOr<std::unique_ptr<Stores>> Open(const Config& config, size_t max_jobs,
                                                      size_t max_bytes);

  /// Copies the file that `config` names to the file `config.backup_to`, also while a server
  /// uses it. See BackUpSqlite.
  static absl::StatusOr<SqliteBackup> BackUp(const Config& config, absl::FunctionRef<bool()> stop);

  /// Ends the check.
  ~Stores();

  /// Reads all of the file on a thread of its own, with low priority, unless it was checked
  /// when it was opened; what comes of it is said in the log. Damage ends nothing.
  /// `registry` outlives this. To be called once.
  void StartCheck(ThreadRegistry& registry);
  /// Idempotent.
  void EndCheck();

  MemoryStore& memory() { return memory_; }
  /// Null: none.
  SqliteStore* disk() { return disk_.get(); }
  /// Both as one.
  JobStore& all() { return all_; }

 private:
  Stores(size_t max_jobs, size_t max_bytes, std::unique_ptr<SqliteStore> disk)
      : memory_(max_jobs, max_bytes), disk_(std::move(disk)), all_(memory_, disk_.get()) {}

  void Check(ThreadRegistry& registry);

  MemoryStore memory_;
  const std::unique_ptr<SqliteStore> disk_;
  LayeredStore all_;
  std::thread check_;
};

}  // namespace jobpool
