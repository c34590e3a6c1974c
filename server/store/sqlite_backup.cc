#include "server/store/sqlite_backup.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <unistd.h>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "server/base/status_macros.h"
#include "server/store/sqlite_db.h"

namespace jobpool {
namespace {

// After each, others that wait for the disk have their turn.
constexpr int kPagesAtOnce = 256;

absl::Status FileError(absl::string_view what, const std::string& path) {
  return absl::UnavailableError(absl::StrCat("cannot ", what, " ", path, ": ", std::strerror(errno)));
}

absl::Status Synchronize(const std::string& path) {
  const int descriptor = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return FileError("open", path);
  const bool done = fsync(descriptor) == 0;
  const absl::Status status = done ? absl::OkStatus() : FileError("write", path);
  close(descriptor);
  return status;
}

// All pages of one moment: while a connection reads, the file stays the same to it, whoever writes. Without
// that, each commit would make the copy begin anew.
absl::Status Copy(SqliteConnection& source, SqliteConnection& target) {
  JOBPOOL_RETURN_IF_ERROR(source.Execute("BEGIN"));
  JOBPOOL_RETURN_IF_ERROR(source.ReadInt("SELECT count(*) FROM meta").status());
  sqlite3_backup* const backup = sqlite3_backup_init(target.get(), "main", source.get(), "main");
  if (backup == nullptr) return SqliteError(target.get(), sqlite3_errcode(target.get()));
  int code = SQLITE_OK;
  while (code == SQLITE_OK) code = sqlite3_backup_step(backup, kPagesAtOnce);
  const int finished = sqlite3_backup_finish(backup);
  if (code != SQLITE_DONE) return SqliteError(nullptr, code);
  if (finished != SQLITE_OK) return SqliteError(target.get(), finished);
  return source.Execute("ROLLBACK");
}

absl::Status CopyTo(const std::string& from, const std::string& to, const std::string& vfs) {
  JOBPOOL_ASSIGN_OR_RETURN(SqliteConnection source, SqliteConnection::Open(from, SQLITE_OPEN_READWRITE, vfs));
  sqlite3_busy_timeout(source.get(), 5000);
  JOBPOOL_RETURN_IF_ERROR(source.Execute("PRAGMA query_only = ON"));
  JOBPOOL_ASSIGN_OR_RETURN(SqliteConnection target,
                           SqliteConnection::Open(to, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, vfs));
  // It is synchronized once, at the end.
  JOBPOOL_RETURN_IF_ERROR(target.Execute("PRAGMA synchronous = OFF; PRAGMA journal_mode = OFF"));
  return Copy(source, target);
}

}  // namespace

absl::Status BackUpSqlite(const std::string& from, const std::string& to, const std::string& vfs) {
  const std::string part = absl::StrCat(to, ".part");
  // Nobody else may read what jobs have said.
  const int made = open(part.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (made < 0) return FileError("make", part);
  close(made);
  const auto remove = absl::MakeCleanup([&] { unlink(part.c_str()); });
  JOBPOOL_RETURN_IF_ERROR(CopyTo(from, part, vfs));
  JOBPOOL_RETURN_IF_ERROR(Synchronize(part));
  // Unlike rename, it fails where there is one.
  if (link(part.c_str(), to.c_str()) != 0) {
    if (errno == EEXIST) return absl::AlreadyExistsError(absl::StrCat("there is a file ", to));
    return FileError("make", to);
  }
  const std::filesystem::path folder = std::filesystem::path(to).parent_path();
  return Synchronize(folder.empty() ? "." : folder.string());
}

}  // namespace jobpool
