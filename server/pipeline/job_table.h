#pragma once

#include <array>
#include <atomic>
#include <bitset>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "server/base/mutex.h"
#include "server/pipeline/live_job.h"
#include "server/query/job_index.h"
#include "server/query/job_query.h"
#include "server/store/job_store.h"

namespace jobpool {

/// Live jobs that a query found.
struct LivePage {
  struct Job {
    JobSnapshot snapshot;
    JobPosition position;
  };
  std::vector<Job> jobs;  // in the query's order
  /// Nothing: no others match. Else the place up to which it has looked.
  std::optional<JobPosition> looked_up_to;
};

/// The live jobs, by id and by what a JobQuery asks for. Thread-safe; in shards, so
/// that callers seldom meet.
class JobTable {
 public:
  /// `max_bytes`: of what callers have given all live jobs to hold.
  explicit JobTable(int64_t max_bytes = int64_t{1} << 30) : max_bytes_(max_bytes) {}
  JobTable(const JobTable&) = delete;
  JobTable& operator=(const JobTable&) = delete;

  /// Ids that ended jobs may have too.
  struct Lookup {
    const JobStore& store;                     // where those are
    std::function<bool(size_t)> is_looked_up;  // whether that of the job of an index can be one
  };

  /// Inserts all of `jobs` or none; no one is seen before all can be. ALREADY_EXISTS: an
  /// id is taken, that of the job `*taken`. RESOURCE_EXHAUSTED: they would hold too many
  /// bytes. UNAVAILABLE: closed, or the store cannot be read. Calls `last`, if given,
  /// before anybody can find them.
  absl::Status Insert(absl::Span<const std::shared_ptr<LiveJob>> jobs, const Lookup* lookup = nullptr,
                      size_t* taken = nullptr, const std::function<void()>& last = nullptr);
  absl::Status Insert(const std::shared_ptr<LiveJob>& job) { return Insert(absl::MakeConstSpan(&job, 1)); }

  /// Makes room for so many jobs, so that their coming moves none.
  void Reserve(size_t jobs);

  /// Inserts jobs of a server before this one, which have been accepted: no bound and no
  /// closing keeps them out. REQUIRES: their ids are free.
  void Restore(absl::Span<const std::shared_ptr<LiveJob>> jobs);

  /// What Insert would answer now for jobs with these ids ("": one that is free)
  /// and so many bytes to hold.
  absl::Status CheckInsert(absl::Span<const std::string> ids, int64_t bytes, const JobStore& store) const;

  /// A live job holds so many bytes more; less than none: fewer. RESOURCE_EXHAUSTED:
  /// they would be too many.
  absl::Status AddBytes(int64_t bytes);

  void set_max_bytes(int64_t max_bytes) { max_bytes_.store(max_bytes); }

  /// Calls `last`, if given, under the same lock: who finds the job in the table
  /// has not seen what `last` does. Then calls `tell`, if given, without the lock: the
  /// table is not empty before that has returned. REQUIRES: `job` is in the table.
  void Erase(const LiveJob& job, absl::FunctionRef<void()> last = Nothing,
             absl::FunctionRef<void()> tell = Nothing);

  /// One of its jobs was left to the next server: it can still be found, but does not
  /// count any more. Calls `tell` as Erase does.
  void Leave(absl::FunctionRef<void()> tell);

  /// Null: no live job has that id.
  std::shared_ptr<LiveJob> Find(absl::string_view id) const;

  /// Calls `change`, which changes the job's record or not, and says which: whoever
  /// lists jobs sees it before that or after. Records of jobs in the table change in
  /// here, and as they leave it, alone. REQUIRES: the job is in the table, or `change`
  /// does not change it.
  bool Change(LiveJob& job, absl::FunctionRef<bool()> change);

  /// Each job as it stood when it was found to match. Looks at `max_looked_at` jobs, or
  /// a few for each shard.
  LivePage List(const JobQuery& query) const;

  /// How many jobs of a pool are in which state.
  struct Count {
    int64_t scheduled = 0;
    int64_t queued = 0;
    int64_t running = 0;
  };

  /// Not of one moment, but each job counts once, or not at all if it comes or ends
  /// meanwhile: where there are jobs throughout, not all are 0.
  Count CountOf(absl::string_view pool) const;

  /// Every job that is live now.
  std::vector<std::shared_ptr<LiveJob>> All() const;

  /// From its return on, nothing can be inserted. `on_empty` is called once the
  /// table is empty: by a thread that erases a job, or at once.
  void Close(std::function<void()> on_empty);

  /// Whether there are no jobs but some that were left, and whoever was to be told of
  /// the others was.
  bool empty() const { return size_.load() == 0 && telling_.load() == 0; }  // in this order

  /// How many there are that were not left.
  size_t size() const { return size_.load(); }

 private:
  static constexpr size_t kShards = 16;

  struct IdHash {
    using is_transparent = void;
    size_t operator()(absl::string_view id) const { return absl::Hash<absl::string_view>()(id); }
    size_t operator()(const std::shared_ptr<LiveJob>& job) const { return (*this)(job->id()); }
  };
  struct IdEq {
    using is_transparent = void;
    static absl::string_view Id(absl::string_view id) { return id; }
    static absl::string_view Id(const std::shared_ptr<LiveJob>& job) { return job->id(); }
    template <typename A, typename B>
    bool operator()(const A& a, const B& b) const {
      return Id(a) == Id(b);
    }
  };
  struct Shard {
    mutable Mutex mu;
    absl::flat_hash_set<std::shared_ptr<LiveJob>, IdHash, IdEq> jobs ABSL_GUARDED_BY(mu);
    JobIndex index ABSL_GUARDED_BY(mu);
    // Ids that are being looked for in the store.
    absl::flat_hash_set<std::string> reserved ABSL_GUARDED_BY(mu);
    bool closed ABSL_GUARDED_BY(mu) = false;
  };

  using ShardSet = std::bitset<kShards>;

  static size_t ShardIndex(absl::string_view id) { return absl::Hash<absl::string_view>()(id) % kShards; }
  Shard& ShardOf(absl::string_view id) const { return shards_[ShardIndex(id)]; }
  absl::Status Reserve(const std::string& id, const JobStore& store);
  void Unreserve(absl::Span<const LiveJob* const> jobs);
  // What was reserved is not any more when this returns.
  absl::Status InsertLocked(absl::Span<const std::shared_ptr<LiveJob>> jobs,
                            absl::Span<const LiveJob* const> reserved, size_t* taken,
                            const std::function<void()>& last);
  static void Nothing() {}
  /// One job less, of which `tell` tells.
  void CountOut(absl::FunctionRef<void()> tell);
  void Announce();

  class ShardReader;

  std::atomic<int64_t> max_bytes_;
  mutable std::array<Shard, kShards> shards_;
  std::atomic<int64_t> bytes_{0};
  std::atomic<size_t> size_{0};
  std::atomic<size_t> telling_{0};  // jobs that do not count any more, of which is being told
  std::atomic<bool> closed_{false};

  Mutex mu_;
  std::function<void()> on_empty_ ABSL_GUARDED_BY(mu_);
};

}  // namespace jobpool
