#include "server/store/sqlite_backup.h"

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <optional>
#include <sys/stat.h>
#include <unistd.h>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "server/base/status_macros.h"
#include "server/store/sqlite_db.h"
#include "server/store/sqlite_schema.h"

namespace jobpool {
namespace {

// After each, others that wait for the disk have their turn.
constexpr int kPagesAtOnce = 256;

absl::Status FileError(absl::string_view what, const std::string& path) {
  return absl::UnavailableError(absl::StrCat("cannot ", what, " ", path, ": ", std::strerror(errno)));
}

std::string FolderOf(const std::string& path) {
  const std::filesystem::path folder = std::filesystem::path(path).parent_path();
  return folder.empty() ? "." : folder.string();
}

absl::Status Synchronize(const std::string& path) {
  const int descriptor = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return FileError("open", path);
  const bool done = fsync(descriptor) == 0;
  const absl::Status status = done ? absl::OkStatus() : FileError("write", path);
  close(descriptor);
  return status;
}

// A new file beside `path`, with a name of its own, that only we can read.
absl::StatusOr<std::string> MakePart(const std::string& path) {
  std::string part = absl::StrCat(path, ".part.XXXXXX");
  const int descriptor = mkostemp(part.data(), O_CLOEXEC);
  if (descriptor < 0) return FileError("make", part);
  close(descriptor);
  return part;
}

absl::Status AlreadyThere(const std::string& path) {
  return absl::AlreadyExistsError(absl::StrCat("there is a file ", path));
}

// Not every file system has the first; those that have not have links.
absl::Status GiveName(const std::string& part, const std::string& to) {
  if (renameat2(AT_FDCWD, part.c_str(), AT_FDCWD, to.c_str(), RENAME_NOREPLACE) == 0) return absl::OkStatus();
  if (errno == EINVAL && link(part.c_str(), to.c_str()) == 0) return absl::OkStatus();
  return errno == EEXIST ? AlreadyThere(to) : FileError("make", to);
}

// SQLite makes the log and its index where they are not. When root runs this they would be root's for a
// moment, and a server that starts in it could not open them: they are made with their owner from the start.
absl::Status HaveOwnersFiles(const std::string& path, const struct stat& store) {
  if (geteuid() == store.st_uid) return absl::OkStatus();
  for (const char* suffix : {"-wal", "-shm"}) {
    const std::string file = path + suffix;
    struct stat status {};
    if (lstat(file.c_str(), &status) == 0) continue;
    JOBPOOL_ASSIGN_OR_RETURN(const std::string part, MakePart(file));
    const auto remove = absl::MakeCleanup([&] { unlink(part.c_str()); });
    if (chown(part.c_str(), store.st_uid, store.st_gid) != 0) {
      return absl::FailedPreconditionError(absl::StrCat(
          "it belongs to user ", store.st_uid, ", who has to run this, or root: ", std::strerror(errno)));
    }
    if (link(part.c_str(), file.c_str()) != 0 && errno != EEXIST) return FileError("make", file);
  }
  return absl::OkStatus();
}

// All pages of one moment: while a connection reads, the file stays the same to it, whoever writes. Without
// that, each commit would make the copy begin anew.
absl::Status Copy(SqliteConnection& source, SqliteConnection& target, absl::FunctionRef<bool()> stop) {
  sqlite3_backup* const backup = sqlite3_backup_init(target.get(), "main", source.get(), "main");
  if (backup == nullptr) return SqliteError(target.get(), sqlite3_errcode(target.get()));
  int code = SQLITE_OK;
  bool stopped = false;
  while (code == SQLITE_OK && !stopped) {
    code = sqlite3_backup_step(backup, kPagesAtOnce);
    stopped = stop();
  }
  const int finished = sqlite3_backup_finish(backup);
  if (stopped) return absl::CancelledError("interrupted");
  if (code != SQLITE_DONE) return SqliteError(nullptr, code);
  return finished == SQLITE_OK ? absl::OkStatus() : SqliteError(target.get(), finished);
}

absl::Status CopyTo(const std::string& from, const std::string& to, const std::string& vfs,
                    absl::FunctionRef<bool()> stop) {
  JOBPOOL_ASSIGN_OR_RETURN(SqliteConnection source, SqliteConnection::Open(from, SQLITE_OPEN_READONLY, vfs));
  sqlite3_busy_timeout(source.get(), 5000);
  JOBPOOL_RETURN_IF_ERROR(source.Execute("BEGIN"));
  JOBPOOL_ASSIGN_OR_RETURN(const std::optional<int64_t> application, source.ReadInt("PRAGMA application_id"));
  if (application != kStoreApplicationId) return absl::FailedPreconditionError("it is no store's file");
  JOBPOOL_RETURN_IF_ERROR(source.ReadInt("SELECT count(*) FROM meta").status());
  JOBPOOL_ASSIGN_OR_RETURN(SqliteConnection target, SqliteConnection::Open(to, SQLITE_OPEN_READWRITE, vfs));
  // It is synchronized once, at the end.
  JOBPOOL_RETURN_IF_ERROR(target.Execute("PRAGMA synchronous = OFF; PRAGMA journal_mode = OFF"));
  return Copy(source, target, stop);
}

// A copy of what is damaged is damaged, and nobody would know until it is needed.
absl::StatusOr<SqliteBackup> Check(const std::string& path, const std::string& vfs) {
  // Immutable: without a log beside it.
  const std::string uri = absl::StrCat(
      "file:", absl::StrReplaceAll(path, {{"%", "%25"}, {"?", "%3f"}, {"#", "%23"}}), "?immutable=1");
  JOBPOOL_ASSIGN_OR_RETURN(SqliteConnection db,
                           SqliteConnection::Open(uri, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI, vfs));
  JOBPOOL_RETURN_IF_ERROR(db.CheckIntegrity(""));
  JOBPOOL_ASSIGN_OR_RETURN(const std::optional<int64_t> live, db.ReadInt("SELECT count(*) FROM live_jobs"));
  JOBPOOL_ASSIGN_OR_RETURN(const std::optional<int64_t> ended, db.ReadInt("SELECT sum(jobs) FROM facets"));
  std::error_code error;
  return SqliteBackup{static_cast<int64_t>(std::filesystem::file_size(path, error)), live.value_or(0),
                      ended.value_or(0)};
}

}  // namespace

absl::StatusOr<SqliteBackup> BackUpSqlite(const std::string& from, const std::string& to,
                                          const std::string& vfs, absl::FunctionRef<bool()> stop) {
  struct stat status {};
  if (stat(from.c_str(), &status) != 0) {
    if (errno == ENOENT) return absl::NotFoundError(absl::StrCat("there is no file ", from));
    return FileError("read", from);
  }
  struct stat other {};
  if (lstat(to.c_str(), &other) == 0) return AlreadyThere(to);
  JOBPOOL_RETURN_IF_ERROR(HaveOwnersFiles(from, status));
  JOBPOOL_ASSIGN_OR_RETURN(const std::string part, MakePart(to));
  const auto remove = absl::MakeCleanup([&] { unlink(part.c_str()); });
  JOBPOOL_RETURN_IF_ERROR(CopyTo(from, part, vfs, stop));
  JOBPOOL_ASSIGN_OR_RETURN(const SqliteBackup backup, Check(part, vfs));
  if (stop()) return absl::CancelledError("interrupted");
  JOBPOOL_RETURN_IF_ERROR(Synchronize(part));
  JOBPOOL_RETURN_IF_ERROR(GiveName(part, to));
  JOBPOOL_RETURN_IF_ERROR(Synchronize(FolderOf(to)));
  return backup;
}

}  // namespace jobpool
