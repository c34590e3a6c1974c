#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/base/mutex.h"
#include "server/store/file_lock.h"
#include "server/store/job_store.h"
#include "server/store/sqlite_options.h"
#include "server/store/sqlite_readers.h"
#include "server/store/sqlite_writer.h"

namespace jobpool {

/// What a store takes on the disk, in bytes, and what it holds.
struct SqliteStats {
  int64_t file_bytes = 0;
  int64_t wal_bytes = 0;   // the log, beside the file
  int64_t free_bytes = 0;  // of the file's: written to again before it grows
  int64_t live_jobs = 0;
  int64_t ended_jobs = 0;
};

/// Keeps jobs in a file. What Commit has taken is there after the server's end, however
/// it ends, and after the machine's. Errors are UNAVAILABLE, and it goes on when their
/// cause is gone; DATA_LOSS: the file is damaged. After an error a Commit has written
/// nothing, except where the disk has all of it and only the answer was an error: then
/// it can be there at the next start. It can be asked for again. Thread-safe: one
/// thread writes at a time, and readers do not wait for it.
class SqliteStore final : public JobStore {
 public:
  /// Makes the file where there is none; only the server's user can read it.
  /// A file of up to 16 MiB is checked whole. FAILED_PRECONDITION: another server uses it,
  /// it is not a store's, or a newer server has written it. DATA_LOSS: it is damaged.
  static absl::StatusOr<std::unique_ptr<SqliteStore>> Open(const std::string& path,
                                                           SqliteOptions options = {});
  ~SqliteStore() override;

  absl::Status Commit(absl::Span<const JobWrite> writes) override;
  /// Writes a few bytes.
  absl::Status CheckWritable() override;
  absl::StatusOr<EndedJob> Get(const std::string& id) const override;
  absl::StatusOr<StoredPage> List(const JobQuery& query) const override;
  absl::StatusOr<bool> Delete(const std::string& id) override;
  absl::StatusOr<size_t> DeleteExpired(absl::Time now, size_t limit) override;
  int64_t UsedBytes() const override;
  size_t CountLive() const override { return static_cast<size_t>(Stats().live_jobs); }
  absl::StatusOr<std::vector<JobRecord>> ListLive(uint64_t after, size_t limit) const override;
  absl::StatusOr<std::vector<MadeRequest>> ListRequests(const std::optional<RequestId>& after,
                                                        size_t limit) const override;
  absl::StatusOr<uint64_t> LastNumber() const override;

  /// Up to 256 KiB, where more than a quarter of the file is free, and more than 64 MiB.
  absl::Status GiveBackSpace() override;

  /// Reads all of the file, which can take minutes; the log grows meanwhile. DATA_LOSS: says
  /// what is damaged. CANCELLED: EndChecks was called.
  absl::Status CheckIntegrity() const;
  /// Ends those under way soon; from now on each ends at once.
  void EndChecks();

  /// Whether Open has checked all of the file, which it does with small ones.
  bool checked() const { return checked_; }
  /// Whether damage was found since it was opened, by a check or by a call.
  bool damaged() const { return damaged_; }

  /// As of the last write. Takes microseconds, and does not read the file.
  SqliteStats Stats() const;

 private:
  SqliteStore(std::string path, SqliteOptions options, FileLock lock);

  absl::Status Start();
  /// Opens the writing connection again, if an error has made it unusable.
  absl::Status HaveWriter() ABSL_EXCLUSIVE_LOCKS_REQUIRED(writer_mu_);
  /// What calls of SQLite have answered.
  /// Takes the log over into the file where readers, one after the other, have kept the
  /// writer from beginning it anew for long.
  void LimitLog() ABSL_EXCLUSIVE_LOCKS_REQUIRED(writer_mu_);
  const absl::Status& Note(const absl::Status& status) const;
  void Publish() ABSL_EXCLUSIVE_LOCKS_REQUIRED(writer_mu_);

  template <typename Fn>
  auto Read(SqliteReaders::Use use, Fn fn) const -> decltype(fn(*std::unique_ptr<SqliteReader>()));

  const std::string path_;
  const SqliteOptions options_;
  const FileLock lock_;
  bool checked_ = false;
  bool started_ = false;
  int64_t log_limit_ ABSL_GUARDED_BY(writer_mu_) = 0;  // at which LimitLog tries next; 0: the usual one
  mutable std::atomic<bool> damaged_{false};

  Mutex writer_mu_;
  std::unique_ptr<SqliteWriter> writer_ ABSL_GUARDED_BY(writer_mu_);

  mutable Mutex counts_mu_;
  StoreCounts counts_ ABSL_GUARDED_BY(counts_mu_);

  mutable SqliteReaders readers_;

  mutable Mutex checks_mu_;
  mutable std::vector<sqlite3*> checks_ ABSL_GUARDED_BY(checks_mu_);  // under way
  bool checks_end_ ABSL_GUARDED_BY(checks_mu_) = false;
};

}  // namespace jobpool
