#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "server/store/job_store.h"
#include "server/store/record_codec.h"
#include "server/store/sqlite_db.h"
#include "server/store/sqlite_options.h"

namespace jobpool {

/// What one Commit writes, encoded before its turn to write.
class SqliteBatch {
 public:
  /// `writes` stay as they are until the batch is written.
  explicit SqliteBatch(absl::Span<const JobWrite> writes);

  struct Job {
    const JobRecord* job;
    absl::string_view record;
  };

  /// By number; each job once, as it was written last.
  const std::vector<Job>& jobs() const { return jobs_; }
  absl::Span<const JobWrite> writes() const { return writes_; }
  bool has_requests() const { return has_requests_; }

 private:
  absl::Span<const JobWrite> writes_;
  std::string bytes_;
  std::vector<Job> jobs_;
  bool has_requests_ = false;
};

/// What a store holds.
struct StoreCounts {
  int64_t live_jobs = 0;
  int64_t ended_jobs = 0;
  uint64_t last_number = 0;
  int64_t file_bytes = 0;  // of its pages, wherever they are: in the file or in the log
  int64_t free_bytes = 0;  // of those that hold nothing
};

/// The one connection that writes. Each call is one transaction: all of it is done, or
/// nothing. Not thread-safe.
class SqliteWriter {
 public:
  /// Prepares the file; see PrepareFile.
  static absl::StatusOr<std::unique_ptr<SqliteWriter>> Open(const std::string& path,
                                                            const SqliteOptions& options);

  /// False: an error has left the connection in a state that is not known.
  bool usable() const { return usable_; }
  const StoreCounts& counts() const { return counts_; }

  absl::Status Commit(const SqliteBatch& batch);
  /// Writes a few bytes.
  absl::Status CheckWritable();
  absl::StatusOr<bool> Delete(const std::string& id);
  /// How many are gone. Where it is none, there may still be some behind very many that
  /// are kept longer; the next call looks there.
  struct Expired {
    size_t jobs = 0;
    size_t requests = 0;
  };
  absl::StatusOr<Expired> DeleteExpired(absl::Time now, size_t max_jobs, size_t max_requests);
  /// Takes up to `bytes` of free pages off the file.
  absl::Status GiveBack(int64_t bytes);

  /// Takes all of the log over into the file and truncates it. UNAVAILABLE: somebody reads
  /// from it.
  absl::Status EmptyLog();

  /// Whether the file was closed in order the last time.
  absl::StatusOr<bool> HasCleanMark();
  /// To be called before anything is written.
  absl::Status RemoveCleanMark();
  /// To be called when nothing is written any more. Its end then takes the log over into the
  /// file, which it leaves alone otherwise.
  absl::Status SetCleanMark();

  SqliteConnection& connection() { return db_; }

 private:
  struct FacetKey {
    JobState state;
    Kind kind;
    int priority;
    std::optional<bool> daemon;
    std::string pool;

    bool operator==(const FacetKey&) const = default;
    template <typename H>
    friend H AbslHashValue(H hash, const FacetKey& key) {
      return H::combine(std::move(hash), key.state, key.kind, key.priority, key.daemon, key.pool);
    }
  };

  // Behind the jobs that were looked at in the order of their ends.
  struct EndPlace {
    int64_t end_time;
    int64_t create_time;
    std::string id;
  };

  struct ToDelete {
    int64_t number;
    int64_t facet;
    int64_t labels;  // how many
  };

  explicit SqliteWriter(SqliteConnection db) : db_(std::move(db)) {}

  absl::Status Prepare();
  absl::Status ReadCounts();
  absl::Status ReadSpace(StoreCounts& counts);
  absl::Status ReadFacets();

  template <typename Fn>
  absl::Status InTransaction(Fn fn);
  void RollBack();
  /// `at_once`: at most so many with one statement.
  absl::Status WriteJobs(const SqliteBatch& batch, size_t at_once);
  absl::Status WriteRequests(const SqliteBatch& batch);
  absl::Status WriteLive(absl::Span<const SqliteBatch::Job> jobs);
  absl::Status WriteEnded(absl::Span<const SqliteBatch::Job> jobs);
  void BindEnded(SqliteStatement& insert, int index, const SqliteBatch::Job& write, int64_t facet);
  absl::Status WriteLabels(const JobRecord& job);
  absl::Status DeleteLive(const SqliteBatch& batch);
  absl::StatusOr<int64_t> FacetOf(const JobRecord& job);
  void CountFacet(int64_t facet, int64_t jobs);
  absl::Status WriteCounts();
  absl::Status DeleteJobs(const std::vector<ToDelete>& jobs);
  absl::StatusOr<bool> DeleteLabels(const ToDelete& job);
  absl::Status SearchLabels(const absl::flat_hash_set<int64_t>& numbers);
  absl::Status DeleteKept(int64_t number);
  absl::Status FindExpired(absl::Time now, size_t limit, std::vector<ToDelete>& jobs);
  absl::Status FindExpiredCommon(absl::Time now, size_t limit, std::vector<ToDelete>& jobs, EndPlace& place);
  absl::StatusOr<size_t> DeleteExpiredRequests(absl::Time now, size_t limit);

  SqliteConnection db_;
  bool usable_ = true;
  StoreCounts counts_;
  int64_t page_bytes_ = 0;
  uint64_t written_last_number_ = 0;  // not less than that of any deleted job
  absl::flat_hash_map<FacetKey, int64_t> facets_;
  EndPlace expired_up_to_;
  RecordDecoder decoder_;

  // Of the transaction.
  StoreCounts next_;
  uint64_t deleted_number_ = 0;
  bool made_facets_ = false;
  bool conflict_ = false;  // an ended job is there already
  int64_t checks_ = 0;
  std::vector<std::pair<int64_t, int64_t>> facet_changes_;  // jobs that a facet has more, or less

  SqliteStatement begin_, commit_, rollback_;
  SqliteStatement pages_, free_pages_, give_back_;
  SqliteStatement insert_live_, insert_many_live_, upsert_live_, delete_live_;
  SqliteStatement insert_ended_, insert_many_ended_, delete_ended_, insert_label_, delete_label_, labels_,
      find_, find_number_, record_;
  SqliteStatement insert_facet_, count_facet_, put_meta_;
  SqliteStatement put_request_, expired_requests_, delete_request_;
  SqliteStatement expired_, expired_common_;
};

}  // namespace jobpool
