#pragma once

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
#include "server/store/sqlite_reader.h"
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
  /// FAILED_PRECONDITION: another server uses it, it is not a store's, or a newer
  /// server has written it.
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
  absl::StatusOr<std::vector<JobRecord>> ListLive(uint64_t after, size_t limit) const override;
  absl::StatusOr<std::vector<MadeRequest>> ListRequests(const std::optional<RequestId>& after,
                                                        size_t limit) const override;
  absl::StatusOr<uint64_t> LastNumber() const override;

  /// Gives some free space back to the disk, up to 4 MiB, where more than a quarter of
  /// the file is free, and more than 64 MiB.
  absl::Status GiveBackSpace();

  /// Reads all of the file, which can take minutes. DATA_LOSS: says what is damaged.
  absl::Status CheckIntegrity() const;

  /// Copies what is there at one moment to the file `to`, while others go on. The
  /// file has its name when it is whole. ALREADY_EXISTS: there is one.
  absl::Status Backup(const std::string& to) const;

  /// Takes microseconds.
  absl::StatusOr<SqliteStats> Stats() const;

 private:
  class Lease;

  SqliteStore(std::string path, SqliteOptions options, FileLock lock);

  absl::Status Start();
  /// Opens the writing connection again, if an error has made it unusable.
  absl::Status HaveWriter() ABSL_EXCLUSIVE_LOCKS_REQUIRED(writer_mu_);
  void Publish() ABSL_EXCLUSIVE_LOCKS_REQUIRED(writer_mu_);

  absl::StatusOr<std::unique_ptr<SqliteReader>> TakeReader() const;
  void GiveReader(std::unique_ptr<SqliteReader> reader) const;

  template <typename Fn>
  auto Read(Fn fn) const -> decltype(fn(*std::unique_ptr<SqliteReader>()));

  const std::string path_;
  const SqliteOptions options_;
  const FileLock lock_;

  Mutex writer_mu_;
  std::unique_ptr<SqliteWriter> writer_ ABSL_GUARDED_BY(writer_mu_);

  mutable Mutex counts_mu_;
  StoreCounts counts_ ABSL_GUARDED_BY(counts_mu_);

  mutable Mutex readers_mu_;
  mutable CondVar reader_is_free_;
  mutable std::vector<std::unique_ptr<SqliteReader>> free_readers_ ABSL_GUARDED_BY(readers_mu_);
  mutable size_t readers_ ABSL_GUARDED_BY(readers_mu_) = 0;  // free or taken
};

}  // namespace jobpool
