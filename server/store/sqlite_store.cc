#include "server/store/sqlite_store.h"

#include <algorithm>
#include <fcntl.h>
#include <filesystem>
#include <system_error>
#include <unistd.h>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/base/status_macros.h"

namespace jobpool {
namespace {

// While expired jobs are deleted, others wait to write.
constexpr size_t kDeletedAtOnce = 500;

constexpr int64_t kMinFreeBytes = int64_t{64} << 20;
constexpr int64_t kBytesGivenBack = int64_t{256} << 10;

// So large is a file at most that is checked whole when it is opened, which takes 0.2 s.
constexpr int64_t kCheckedAtOnce = int64_t{16} << 20;

absl::Status About(const std::string& path, const absl::Status& status) {
  return absl::Status(status.code(), absl::StrCat("the store ", path, ": ", status.message(),
                                                  absl::IsDataLoss(status) ? "; restore a backup" : ""));
}

// The log is so many times as long as it is between two checkpoints before lists have to wait.
constexpr int64_t kMaxLogCheckpoints = 4;
// Longer than a list takes.
constexpr absl::Duration kReadersPatience = absl::Milliseconds(200);

int64_t FileBytes(const std::string& path) {
  std::error_code error;
  const auto bytes = std::filesystem::file_size(path, error);
  return error ? 0 : static_cast<int64_t>(bytes);
}

}  // namespace

absl::StatusOr<std::unique_ptr<SqliteStore>> SqliteStore::Open(const std::string& path,
                                                               SqliteOptions options) {
  JOBPOOL_ASSIGN_OR_RETURN(FileLock lock,
                           FileLock::Take(absl::StrCat(path, ".lock"), absl::StrCat("the store ", path)));
  // SQLite takes the permissions of its other files from this one.
  const int made = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (made >= 0) close(made);
  std::unique_ptr<SqliteStore> store(new SqliteStore(path, std::move(options), std::move(lock)));
  if (const absl::Status status = store->Start(); !status.ok()) return About(path, status);
  return store;
}

SqliteStore::SqliteStore(std::string path, SqliteOptions options, FileLock lock)
    : path_(std::move(path)),
      options_(std::move(options)),
      lock_(std::move(lock)),
      readers_(path_, options_) {}

absl::Status SqliteStore::Start() {
  MutexLock lock(writer_mu_);
  JOBPOOL_RETURN_IF_ERROR(HaveWriter());
  JOBPOOL_ASSIGN_OR_RETURN(const bool clean, writer_->HasCleanMark());
  checked_ = writer_->counts().file_bytes <= kCheckedAtOnce;
  // After a crash SQLite has recovered from its log already; this is for disks that have lost more. Only what
  // a start has to read: 0.2 s for a million live jobs, whereas the ended ones may be many more.
  if (checked_ || !clean) {
    JOBPOOL_RETURN_IF_ERROR(writer_->connection().CheckIntegrity(checked_ ? "" : "live_jobs"));
  }
  JOBPOOL_RETURN_IF_ERROR(writer_->RemoveCleanMark());
  started_ = true;
  return absl::OkStatus();
}

SqliteStore::~SqliteStore() {
  readers_.CloseFree();
  MutexLock lock(writer_mu_);
  // A damaged file stays as it was found.
  if (started_ && !damaged_ && writer_ != nullptr && writer_->usable()) (void)writer_->SetCleanMark();
}

absl::Status SqliteStore::HaveWriter() {
  if (writer_ != nullptr && writer_->usable()) return absl::OkStatus();
  writer_ = nullptr;
  JOBPOOL_ASSIGN_OR_RETURN(writer_, SqliteWriter::Open(path_, options_));
  Publish();
  return absl::OkStatus();
}

const absl::Status& SqliteStore::Note(const absl::Status& status) const {
  if (absl::IsDataLoss(status)) damaged_ = true;
  return status;
}

void SqliteStore::Publish() {
  MutexLock lock(counts_mu_);
  counts_ = writer_->counts();
}

absl::Status SqliteStore::Commit(absl::Span<const JobWrite> writes) {
  if (writes.empty()) return absl::OkStatus();
  const SqliteBatch batch(writes);
  MutexLock lock(writer_mu_);
  JOBPOOL_RETURN_IF_ERROR(HaveWriter());
  JOBPOOL_RETURN_IF_ERROR(Note(writer_->Commit(batch)));
  Publish();
  LimitLog();
  return absl::OkStatus();
}

int64_t SqliteStore::UsedBytes() const {
  MutexLock lock(counts_mu_);
  return counts_.file_bytes - counts_.free_bytes;
}

// SQLite begins the log anew once all of it is in the file and nobody reads from it. Where lists follow each
// other without a pause that is never, and the log would grow for ever: then they wait for a moment.
void SqliteStore::LimitLog() {
  const int64_t most = kMaxLogCheckpoints * options_.checkpoint_bytes;
  const int64_t bytes = FileBytes(path_ + "-wal");
  if (bytes < std::max(most, log_limit_)) return;
  log_limit_ = bytes + options_.checkpoint_bytes;
  if (!readers_.Hold(kReadersPatience)) return;
  if (writer_->EmptyLog().ok()) log_limit_ = 0;
  readers_.LetGo();
}

absl::Status SqliteStore::CheckWritable() {
  MutexLock lock(writer_mu_);
  JOBPOOL_RETURN_IF_ERROR(HaveWriter());
  return Note(writer_->CheckWritable());
}

absl::StatusOr<bool> SqliteStore::Delete(const std::string& id) {
  MutexLock lock(writer_mu_);
  JOBPOOL_RETURN_IF_ERROR(HaveWriter());
  const absl::StatusOr<bool> deleted = writer_->Delete(id);
  JOBPOOL_RETURN_IF_ERROR(Note(deleted.status()));
  Publish();
  return deleted;
}

absl::StatusOr<size_t> SqliteStore::DeleteExpired(absl::Time now, size_t limit) {
  size_t jobs = 0;
  size_t requests = 0;
  for (;;) {
    absl::StatusOr<SqliteWriter::Expired> expired;
    {
      MutexLock lock(writer_mu_);
      JOBPOOL_RETURN_IF_ERROR(HaveWriter());
      expired = writer_->DeleteExpired(now, std::min(limit - jobs, kDeletedAtOnce),
                                       std::min(limit - requests, kDeletedAtOnce));
      JOBPOOL_RETURN_IF_ERROR(Note(expired.status()));
      Publish();
    }
    jobs += expired->jobs;
    requests += expired->requests;
    const bool done = expired->jobs == 0 && expired->requests == 0;
    if (done || jobs >= limit) return jobs;
  }
}

// A reader that has failed may be what is broken: another connection takes its place.
template <typename Fn>
auto SqliteStore::Read(SqliteReaders::Use use, Fn fn) const
    -> decltype(fn(*std::unique_ptr<SqliteReader>())) {
  JOBPOOL_ASSIGN_OR_RETURN(std::unique_ptr<SqliteReader> reader, readers_.Take(use));
  auto answer = fn(*reader);
  Note(answer.status());
  readers_.Give(answer.ok() ? std::move(reader) : nullptr, use);
  return answer;
}

absl::StatusOr<EndedJob> SqliteStore::Get(const std::string& id) const {
  return Read(SqliteReaders::Use::kOneJob, [&](SqliteReader& reader) { return reader.Get(id); });
}

absl::StatusOr<StoredPage> SqliteStore::List(const JobQuery& query) const {
  return Read(SqliteReaders::Use::kList, [&](SqliteReader& reader) { return reader.List(query); });
}

absl::StatusOr<std::vector<JobRecord>> SqliteStore::ListLive(uint64_t after, size_t limit) const {
  return Read(SqliteReaders::Use::kList, [&](SqliteReader& reader) { return reader.ListLive(after, limit); });
}

absl::StatusOr<std::vector<MadeRequest>> SqliteStore::ListRequests(const std::optional<RequestId>& after,
                                                                   size_t limit) const {
  return Read(SqliteReaders::Use::kList,
              [&](SqliteReader& reader) { return reader.ListRequests(after, limit); });
}

absl::StatusOr<uint64_t> SqliteStore::LastNumber() const {
  MutexLock lock(counts_mu_);
  return counts_.last_number;
}

absl::Status SqliteStore::GiveBackSpace() {
  const SqliteStats stats = Stats();
  if (stats.free_bytes <= kMinFreeBytes || stats.free_bytes <= stats.file_bytes / 4) return absl::OkStatus();
  MutexLock lock(writer_mu_);
  JOBPOOL_RETURN_IF_ERROR(HaveWriter());
  JOBPOOL_RETURN_IF_ERROR(Note(writer_->GiveBack(kBytesGivenBack)));
  Publish();
  return absl::OkStatus();
}

// On a connection of its own: it reads for long.
absl::Status SqliteStore::CheckIntegrity() const {
  JOBPOOL_ASSIGN_OR_RETURN(const std::unique_ptr<SqliteReader> reader, SqliteReader::Open(path_, options_));
  SqliteConnection& db = reader->connection();
  // As long as a statement is under way, SQLite does not forget that it was interrupted, whenever that was.
  JOBPOOL_ASSIGN_OR_RETURN(SqliteStatement under_way, db.Prepare("SELECT name FROM sqlite_schema"));
  JOBPOOL_RETURN_IF_ERROR(under_way.Step().status());
  {
    MutexLock lock(checks_mu_);
    if (checks_end_) sqlite3_interrupt(db.get());
    checks_.push_back(db.get());
  }
  const absl::Status status = db.CheckIntegrity("");
  MutexLock lock(checks_mu_);
  checks_.erase(std::find(checks_.begin(), checks_.end(), db.get()));
  // What it has found by then need not be true.
  if (checks_end_) return absl::CancelledError("the check was interrupted");
  Note(status);
  return status;
}

void SqliteStore::EndChecks() {
  MutexLock lock(checks_mu_);
  checks_end_ = true;
  for (sqlite3* const db : checks_) sqlite3_interrupt(db);
}

SqliteStats SqliteStore::Stats() const {
  SqliteStats stats;
  stats.wal_bytes = FileBytes(path_ + "-wal");
  MutexLock lock(counts_mu_);
  stats.file_bytes = counts_.file_bytes;
  stats.free_bytes = counts_.free_bytes;
  stats.live_jobs = counts_.live_jobs;
  stats.ended_jobs = counts_.ended_jobs;
  return stats;
}

}  // namespace jobpool
