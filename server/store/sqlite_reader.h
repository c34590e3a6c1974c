#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "server/store/job_store.h"
#include "server/store/record_codec.h"
#include "server/store/sqlite_db.h"
#include "server/store/sqlite_lister.h"
#include "server/store/sqlite_options.h"

namespace jobpool {

/// A connection that reads, and never waits for the one that writes. Not thread-safe.
class SqliteReader {
 public:
  /// REQUIRES: the file is prepared.
  static absl::StatusOr<std::unique_ptr<SqliteReader>> Open(const std::string& path,
                                                            const SqliteOptions& options);

  /// As those of JobStore.
  absl::StatusOr<EndedJob> Get(const std::string& id);
  absl::StatusOr<StoredPage> List(const JobQuery& query);
  absl::StatusOr<std::vector<JobRecord>> ListLive(uint64_t after, size_t limit);
  absl::StatusOr<std::vector<MadeRequest>> ListRequests(const std::optional<RequestId>& after, size_t limit);

  SqliteConnection& connection() { return db_; }

 private:
  explicit SqliteReader(SqliteConnection db) : db_(std::move(db)) {}

  absl::Status Prepare();

  SqliteConnection db_;
  RecordDecoder decoder_;
  SqliteLister lister_{db_, decoder_};
  SqliteStatement begin_, end_, get_, live_, requests_;
};

}  // namespace jobpool
