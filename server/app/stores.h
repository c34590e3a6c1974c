#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "server/app/config.h"
#include "server/store/layered_store.h"
#include "server/store/memory_store.h"
#include "server/store/sqlite_store.h"

namespace jobpool {

/// Where a server keeps jobs.
class Stores {
 public:
  /// Opens what `config` names; makes the state folder where there is none. The limits are
  /// those of the store in memory. FAILED_PRECONDITION, UNAVAILABLE or DATA_LOSS: it
  /// cannot be opened.
  static absl::StatusOr<std::unique_ptr<Stores>> Open(const Config& config, size_t max_jobs,
                                                      size_t max_bytes);

  MemoryStore& memory() { return memory_; }
  /// Null: none.
  SqliteStore* disk() { return disk_.get(); }
  /// Both as one.
  JobStore& all() { return all_; }

 private:
  Stores(size_t max_jobs, size_t max_bytes, std::unique_ptr<SqliteStore> disk)
      : memory_(max_jobs, max_bytes), disk_(std::move(disk)), all_(memory_, disk_.get()) {}

  MemoryStore memory_;
  const std::unique_ptr<SqliteStore> disk_;
  LayeredStore all_;
};

}  // namespace jobpool
