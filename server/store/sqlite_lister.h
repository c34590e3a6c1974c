#pragma once

#include <array>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/query/job_query.h"
#include "server/store/job_store.h"
#include "server/store/record_codec.h"
#include "server/store/sqlite_db.h"

namespace jobpool {

/// Answers JobStore::List from a store's file, as JobIndex does from memory. Not
/// thread-safe, as the connection is not.
class SqliteLister {
 public:
  /// Neither is owned.
  SqliteLister(SqliteConnection& db, RecordDecoder& decoder) : db_(db), decoder_(decoder) {}

  /// REQUIRES: within a transaction, which makes what is read one moment's.
  absl::StatusOr<StoredPage> List(const JobQuery& query);

  /// All that it asks of SQLite, for those who look at how SQLite would do it.
  static std::vector<std::string> Statements();

 private:
  class Listing;

  /// What gives jobs by some key.
  enum class Table { kFacet, kLabel, kName, kStart, kEnd, kSchedule, kDeadline, kLabelKey, kNamePrefix };
  static constexpr size_t kTables = static_cast<size_t>(Table::kNamePrefix) + 1;

  static std::string Sql(Table table, bool descending);
  absl::StatusOr<SqliteStatement*> Statement(Table table, bool descending);
  absl::StatusOr<SqliteStatement*> Prepared(SqliteStatement& statement, absl::string_view sql);

  SqliteConnection& db_;
  RecordDecoder& decoder_;
  std::array<std::array<SqliteStatement, 2>, kTables> ranges_;
  SqliteStatement facets_;
  SqliteStatement record_;
};

}  // namespace jobpool
