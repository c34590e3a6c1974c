#include "server/store/sqlite_db.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "server/base/status_macros.h"

namespace jobpool {
namespace {

absl::string_view WhatHappened(int code) {
  switch (code & 0xff) {
    case SQLITE_FULL:
      return "disk is full: ";
    case SQLITE_READONLY:
      return "the file cannot be written to: ";
    case SQLITE_IOERR:
      return "input or output failed: ";
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return "another process has locked the file: ";
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return "the file is damaged: ";
    default:
      return "";
  }
}

// SQLite counts all it allocates under one lock of the process, unless told not to before it is first used.
void SetUpOnce() {
  static const bool done = [] {
    sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
    return true;
  }();
  (void)done;
}

}  // namespace

absl::Status SqliteError(sqlite3* db, int code) {
  const int known = db != nullptr ? sqlite3_extended_errcode(db) : code;
  const bool is_of_this = (known & 0xff) == (code & 0xff);
  const std::string message = absl::StrCat(
      WhatHappened(code), is_of_this && db != nullptr ? sqlite3_errmsg(db) : sqlite3_errstr(code),
      " (SQLite's error ", is_of_this ? known : code, ")");
  const bool damaged = (code & 0xff) == SQLITE_CORRUPT || (code & 0xff) == SQLITE_NOTADB;
  return damaged ? absl::DataLossError(message) : absl::UnavailableError(message);
}

absl::StatusOr<SqliteConnection> SqliteConnection::Open(const std::string& path, int flags,
                                                        const std::string& vfs) {
  SetUpOnce();
  sqlite3* db = nullptr;
  const int code = sqlite3_open_v2(path.c_str(), &db, flags | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE,
                                   vfs.empty() ? nullptr : vfs.c_str());
  SqliteConnection connection(db);
  if (code != SQLITE_OK) {
    const absl::Status error = SqliteError(db, code);
    return absl::Status(error.code(), absl::StrCat("cannot open ", path, ": ", error.message()));
  }
  return connection;
}

absl::Status SqliteConnection::Execute(const std::string& sql) {
  const int code = sqlite3_exec(get(), sql.c_str(), nullptr, nullptr, nullptr);
  return code == SQLITE_OK ? absl::OkStatus() : SqliteError(get(), code);
}

absl::StatusOr<SqliteStatement> SqliteConnection::Prepare(absl::string_view sql) {
  sqlite3_stmt* statement = nullptr;
  const int code = sqlite3_prepare_v3(get(), sql.data(), static_cast<int>(sql.size()),
                                      SQLITE_PREPARE_PERSISTENT, &statement, nullptr);
  if (code != SQLITE_OK) return SqliteError(get(), code);
  return SqliteStatement(statement);
}

absl::StatusOr<std::optional<int64_t>> SqliteConnection::ReadInt(absl::string_view sql) {
  JOBPOOL_ASSIGN_OR_RETURN(SqliteStatement statement, Prepare(sql));
  JOBPOOL_ASSIGN_OR_RETURN(const bool row, statement.Step());
  if (!row || statement.IsNull(0)) return std::optional<int64_t>();
  return std::optional<int64_t>(statement.Int(0));
}

absl::StatusOr<std::optional<std::string>> SqliteConnection::ReadText(absl::string_view sql) {
  JOBPOOL_ASSIGN_OR_RETURN(SqliteStatement statement, Prepare(sql));
  JOBPOOL_ASSIGN_OR_RETURN(const bool row, statement.Step());
  if (!row || statement.IsNull(0)) return std::optional<std::string>();
  return std::optional<std::string>(statement.Bytes(0));
}

void SqliteConnection::SetKeepsLog(bool keeps) {
  sqlite3_db_config(get(), SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, keeps ? 1 : 0, nullptr);
}

absl::Status SqliteConnection::CheckIntegrity(absl::string_view table) {
  // In a table each row, without a look at the indexes.
  JOBPOOL_ASSIGN_OR_RETURN(const std::optional<std::string> answer,
                           ReadText(table.empty() ? "PRAGMA integrity_check(1)"
                                                  : absl::StrCat("PRAGMA quick_check(", table, ")")));
  const std::string text = answer.value_or("");
  if (text == "ok") return absl::OkStatus();
  return absl::DataLossError(
      absl::StrCat("the file is damaged: ",
                   absl::StrReplaceAll(text, {{"*** in database main ***\n", ""}, {"\n", "; "}})));
}

}  // namespace jobpool
