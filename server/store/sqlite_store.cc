#include "server/store/sqlite_store.h"

#include <algorithm>
#include <fcntl.h>
#include <filesystem>
#include <system_error>
#include <unistd.h>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/base/status_macros.h"
#include "server/store/sqlite_backup.h"

namespace jobpool {
namespace {

// While expired jobs are deleted, others wait to write.
constexpr size_t kDeletedAtOnce = 500;

constexpr int64_t kMinFreeBytes = int64_t{64} << 20;
constexpr int64_t kBytesGivenBack = int64_t{4} << 20;

absl::Status About(const std::string& path, const absl::Status& status) {
  return absl::Status(status.code(), absl::StrCat("the store ", path, ": ", status.message()));
}

int64_t FileBytes(const std::string& path) {
  std::error_code error;
  const auto bytes = std::filesystem::file_size(path, error);
  return error ? 0 : static_cast<int64_t>(bytes);
}

// One line, `ok`, or what is wrong.
absl::Status Check(SqliteConnection& db, absl::string_view pragma) {
  JOBPOOL_ASSIGN_OR_RETURN(const std::optional<std::string> answer, db.ReadText(pragma));
  const std::string text = answer.value_or("");
  return text == "ok" ? absl::OkStatus() : absl::DataLossError(absl::StrCat("the file is damaged: ", text));
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
    : path_(std::move(path)), options_(std::move(options)), lock_(std::move(lock)) {}

absl::Status SqliteStore::Start() {
  MutexLock lock(writer_mu_);
  JOBPOOL_RETURN_IF_ERROR(HaveWriter());
  JOBPOOL_ASSIGN_OR_RETURN(const bool clean, writer_->TakeCleanMark());
  if (clean) return absl::OkStatus();
  // After a crash SQLite has recovered from its log already; this is for disks that have lost more. Only what
  // a start has to read: 0.2 s for a million live jobs, whereas the ended ones may be many more.
  // CheckIntegrity is for those.
  return Check(writer_->connection(), "PRAGMA quick_check(live_jobs)");
}

SqliteStore::~SqliteStore() {
  {
    MutexLock lock(readers_mu_);
    free_readers_.clear();
  }
  MutexLock lock(writer_mu_);
  if (writer_ != nullptr && writer_->usable()) (void)writer_->SetCleanMark();
}

absl::Status SqliteStore::HaveWriter() {
  if (writer_ != nullptr && writer_->usable()) return absl::OkStatus();
  writer_ = nullptr;
  JOBPOOL_ASSIGN_OR_RETURN(writer_, SqliteWriter::Open(path_, options_));
  Publish();
  return absl::OkStatus();
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
  JOBPOOL_RETURN_IF_ERROR(writer_->Commit(batch));
  Publish();
  return absl::OkStatus();
}

absl::Status SqliteStore::CheckWritable() {
  MutexLock lock(writer_mu_);
  JOBPOOL_RETURN_IF_ERROR(HaveWriter());
  return writer_->CheckWritable();
}

absl::StatusOr<bool> SqliteStore::Delete(const std::string& id) {
  MutexLock lock(writer_mu_);
  JOBPOOL_RETURN_IF_ERROR(HaveWriter());
  JOBPOOL_ASSIGN_OR_RETURN(const bool deleted, writer_->Delete(id));
  Publish();
  return deleted;
}

absl::StatusOr<size_t> SqliteStore::DeleteExpired(absl::Time now, size_t limit) {
  size_t jobs = 0;
  size_t requests = 0;
  for (;;) {
    SqliteWriter::Expired expired;
    {
      MutexLock lock(writer_mu_);
      JOBPOOL_RETURN_IF_ERROR(HaveWriter());
      JOBPOOL_ASSIGN_OR_RETURN(expired, writer_->DeleteExpired(now, std::min(limit - jobs, kDeletedAtOnce),
                                                               std::min(limit - requests, kDeletedAtOnce)));
      Publish();
    }
    jobs += expired.jobs;
    requests += expired.requests;
    const bool done = expired.jobs == 0 && expired.requests == 0;
    if (done || jobs >= limit) return jobs;
  }
}

/// A reader for the length of a call.
class SqliteStore::Lease {
 public:
  Lease(const SqliteStore& store, std::unique_ptr<SqliteReader> reader)
      : store_(store), reader_(std::move(reader)) {}
  ~Lease() { store_.GiveReader(std::move(reader_)); }
  Lease(const Lease&) = delete;
  Lease& operator=(const Lease&) = delete;

  SqliteReader& operator*() { return *reader_; }
  /// Another connection takes its place: it may be what is broken.
  void Discard() { reader_ = nullptr; }

 private:
  const SqliteStore& store_;
  std::unique_ptr<SqliteReader> reader_;
};

absl::StatusOr<std::unique_ptr<SqliteReader>> SqliteStore::TakeReader() const {
  {
    MutexLock lock(readers_mu_);
    while (free_readers_.empty() && readers_ >= std::max<size_t>(options_.readers, 1)) {
      reader_is_free_.Wait(readers_mu_);
    }
    if (!free_readers_.empty()) {
      std::unique_ptr<SqliteReader> reader = std::move(free_readers_.back());
      free_readers_.pop_back();
      return reader;
    }
    ++readers_;
  }
  absl::StatusOr<std::unique_ptr<SqliteReader>> reader = SqliteReader::Open(path_, options_);
  if (!reader.ok()) GiveReader(nullptr);
  return reader;
}

void SqliteStore::GiveReader(std::unique_ptr<SqliteReader> reader) const {
  MutexLock lock(readers_mu_);
  if (reader != nullptr) {
    free_readers_.push_back(std::move(reader));
  } else {
    --readers_;
  }
  reader_is_free_.NotifyOne();
}

template <typename Fn>
auto SqliteStore::Read(Fn fn) const -> decltype(fn(*std::unique_ptr<SqliteReader>())) {
  JOBPOOL_ASSIGN_OR_RETURN(std::unique_ptr<SqliteReader> reader, TakeReader());
  Lease lease(*this, std::move(reader));
  auto answer = fn(*lease);
  if (!answer.ok()) lease.Discard();
  return answer;
}

absl::StatusOr<EndedJob> SqliteStore::Get(const std::string& id) const {
  return Read([&](SqliteReader& reader) { return reader.Get(id); });
}

absl::StatusOr<StoredPage> SqliteStore::List(const JobQuery& query) const {
  return Read([&](SqliteReader& reader) { return reader.List(query); });
}

absl::StatusOr<std::vector<JobRecord>> SqliteStore::ListLive(uint64_t after, size_t limit) const {
  return Read([&](SqliteReader& reader) { return reader.ListLive(after, limit); });
}

absl::StatusOr<std::vector<MadeRequest>> SqliteStore::ListRequests(const std::optional<RequestId>& after,
                                                                   size_t limit) const {
  return Read([&](SqliteReader& reader) { return reader.ListRequests(after, limit); });
}

absl::StatusOr<uint64_t> SqliteStore::LastNumber() const {
  MutexLock lock(counts_mu_);
  return counts_.last_number;
}

absl::Status SqliteStore::GiveBackSpace() {
  JOBPOOL_ASSIGN_OR_RETURN(const SqliteStats stats, Stats());
  if (stats.free_bytes <= kMinFreeBytes || stats.free_bytes <= stats.file_bytes / 4) return absl::OkStatus();
  MutexLock lock(writer_mu_);
  JOBPOOL_RETURN_IF_ERROR(HaveWriter());
  return writer_->GiveBack(kBytesGivenBack);
}

// On a connection of its own: it reads for long.
absl::Status SqliteStore::CheckIntegrity() const {
  JOBPOOL_ASSIGN_OR_RETURN(const std::unique_ptr<SqliteReader> reader, SqliteReader::Open(path_, options_));
  return Check(reader->connection(), "PRAGMA integrity_check(1)");
}

absl::Status SqliteStore::Backup(const std::string& to) const {
  return BackUpSqlite(path_, to, options_.vfs);
}

absl::StatusOr<SqliteStats> SqliteStore::Stats() const {
  JOBPOOL_ASSIGN_OR_RETURN(const SqliteReader::Space space,
                           Read([&](SqliteReader& reader) { return reader.ReadSpace(); }));
  SqliteStats stats;
  stats.file_bytes = space.bytes;
  stats.free_bytes = space.free_bytes;
  stats.wal_bytes = FileBytes(path_ + "-wal");
  MutexLock lock(counts_mu_);
  stats.live_jobs = counts_.live_jobs;
  stats.ended_jobs = counts_.ended_jobs;
  return stats;
}

}  // namespace jobpool
