#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <sqlite3.h>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace jobpool {

// SQLite's C interface with owners and statuses. Errors are UNAVAILABLE, with what
// SQLite says and its extended code; DATA_LOSS: the file is damaged, or is none of
// SQLite's. Nothing here is thread-safe: one thread at a time uses a connection and
// its statements.

/// What `code`, which is not SQLITE_OK, means; `db` may be null.
absl::Status SqliteError(sqlite3* db, int code);

/// A prepared statement. Parameters and columns count as in SQLite: from 1 and from 0.
class SqliteStatement {
 public:
  SqliteStatement() = default;
  explicit SqliteStatement(sqlite3_stmt* statement) : statement_(statement) {}
  ~SqliteStatement() { sqlite3_finalize(statement_); }
  SqliteStatement(SqliteStatement&& other) noexcept : statement_(std::exchange(other.statement_, nullptr)) {}
  SqliteStatement& operator=(SqliteStatement&& other) noexcept {
    std::swap(statement_, other.statement_);
    return *this;
  }

  explicit operator bool() const { return statement_ != nullptr; }

  // Binding fails on a wrong index or without memory only; what is not bound is NULL, and a constraint or an
  // answer that is missing tells.
  void BindInt(int index, int64_t value) { sqlite3_bind_int64(statement_, index, value); }
  void BindInt(int index, std::optional<int64_t> value) {
    value.has_value() ? sqlite3_bind_int64(statement_, index, *value) : sqlite3_bind_null(statement_, index);
  }
  /// Not copied: it has to stay until Reset, or until it is bound anew.
  void BindText(int index, absl::string_view text) {
    sqlite3_bind_text64(statement_, index, text.data() != nullptr ? text.data() : "", text.size(),
                        SQLITE_STATIC, SQLITE_UTF8);
  }
  void BindBlob(int index, absl::string_view bytes) {
    sqlite3_bind_blob64(statement_, index, bytes.data() != nullptr ? bytes.data() : "", bytes.size(),
                        SQLITE_STATIC);
  }
  void BindNull(int index) { sqlite3_bind_null(statement_, index); }

  /// Whether there is a row.
  absl::StatusOr<bool> Step() {
    const int code = sqlite3_step(statement_);
    if (code == SQLITE_ROW) return true;
    if (code == SQLITE_DONE) return false;
    return SqliteError(sqlite3_db_handle(statement_), code);
  }

  /// SQLite's code instead: for those who tell one error from another.
  int StepCode() { return sqlite3_step(statement_); }

  /// To its end, once, and ready for the next time.
  absl::Status Run() {
    const int code = sqlite3_step(statement_);
    const absl::Status status = code == SQLITE_DONE || code == SQLITE_ROW
                                    ? absl::OkStatus()
                                    : SqliteError(sqlite3_db_handle(statement_), code);
    sqlite3_reset(statement_);
    return status;
  }

  /// Ready for the next time; lets go of the snapshot that it reads.
  void Reset() { sqlite3_reset(statement_); }

  int64_t Int(int column) const { return sqlite3_column_int64(statement_, column); }
  bool IsNull(int column) const { return sqlite3_column_type(statement_, column) == SQLITE_NULL; }
  /// Until the next Step or Reset.
  absl::string_view Bytes(int column) const {
    const void* const data = sqlite3_column_blob(statement_, column);
    const int size = sqlite3_column_bytes(statement_, column);
    return {static_cast<const char*>(data), data != nullptr ? static_cast<size_t>(size) : 0};
  }

 private:
  sqlite3_stmt* statement_ = nullptr;
};

/// Resets a statement at the end of a scope.
class SqliteScope {
 public:
  explicit SqliteScope(SqliteStatement& statement) : statement_(statement) {}
  ~SqliteScope() { statement_.Reset(); }
  SqliteScope(const SqliteScope&) = delete;
  SqliteScope& operator=(const SqliteScope&) = delete;

 private:
  SqliteStatement& statement_;
};

class SqliteConnection {
 public:
  /// `vfs`: SQLite's name of the file system; empty: the usual one. `flags`: of
  /// sqlite3_open_v2.
  static absl::StatusOr<SqliteConnection> Open(const std::string& path, int flags, const std::string& vfs);

  SqliteConnection(SqliteConnection&&) = default;
  SqliteConnection& operator=(SqliteConnection&&) = default;

  sqlite3* get() const { return db_.get(); }

  /// Statements without answers, separated by semicolons.
  absl::Status Execute(const std::string& sql);

  /// For many uses.
  absl::StatusOr<SqliteStatement> Prepare(absl::string_view sql);

  /// The first column of the first row; nothing: no row.
  absl::StatusOr<std::optional<int64_t>> ReadInt(absl::string_view sql);
  absl::StatusOr<std::optional<std::string>> ReadText(absl::string_view sql);

  /// Reads all of `table`, or of the file if it is empty. DATA_LOSS: says on one line what
  /// is damaged first.
  absl::Status CheckIntegrity(absl::string_view table);

  /// Whether the end of the last connection leaves the file as it is, with the log beside
  /// it, rather than taking that over into the file. False at first.
  void SetKeepsLog(bool keeps);

  bool InTransaction() const { return sqlite3_get_autocommit(get()) == 0; }

 private:
  struct Closer {
    void operator()(sqlite3* db) const { sqlite3_close_v2(db); }
  };

  explicit SqliteConnection(sqlite3* db) : db_(db) {}

  std::unique_ptr<sqlite3, Closer> db_;
};

}  // namespace jobpool
