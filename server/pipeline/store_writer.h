#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/base/clock.h"
#include "server/base/mutex.h"
#include "server/store/job_store.h"
#include "server/telemetry/store_metrics.h"
#include "server/workers/thread_registry.h"

namespace jobpool {

/// Writes jobs to the store for many callers with few commits: one thread commits
/// all that has come while it was busy at once, so that many share one fsync and one
/// alone waits for no company (group commit). Another one calls back, in the order of
/// the writes, while the next commit is under way.
///
/// What the store refuses is forgotten if it is a new job, whose caller is told; the
/// changes and ends of jobs that it has are tried until it takes them, the last of each
/// job alone. Thread-safe. No lock of its own is held when it calls back.
class StoreWriter {
 public:
  using Done = std::function<void(const absl::Status&)>;

  /// How many writes and calls back may wait before AwaitRoom waits.
  static constexpr size_t kRoom = 20'000;
  /// And how many bytes of records.
  static constexpr size_t kRoomBytes = 256 << 20;
  static constexpr absl::Duration kMaxCommitTime = absl::Seconds(5);

  /// All outlive it. `max_commit_time`: a commit that takes longer says that the store
  /// cannot be written. At first it is never full.
  StoreWriter(JobStore& store, ThreadRegistry& registry, StoreMetrics& metrics,
              absl::Duration max_commit_time = kMaxCommitTime);
  /// As Stop.
  ~StoreWriter();

  /// Not OK: the last commit has failed, or takes too long.
  absl::Status health() const;

  /// Why the store last refused something, also when it takes what comes again. OK: it never
  /// has.
  absl::Status last_refusal() const;

  /// RESOURCE_EXHAUSTED: what is kept takes more bytes than it may; new jobs are not to be
  /// added.
  absl::Status CheckFull() const;
  void set_max_bytes(int64_t max_bytes) { max_bytes_.store(max_bytes); }

  /// Is told when health() has become another, on the thread that commits or that of
  /// CheckHealth; to be set before anything is written.
  void set_on_health(std::function<void()> on_health);

  /// To be called from time to time: finds commits that take too long.
  void CheckHealth();

  /// Keeps new jobs, all or none. Not OK: they are not kept, and what else is written of
  /// them is dropped.
  void Create(std::vector<JobWrite> jobs, Done done);

  /// Keeps a job as it is now. To be called in the order of its changes.
  void Change(std::shared_ptr<const JobRecord> job);

  /// Keeps the end of a job. Not OK: it will never be kept, since the job was not.
  void End(EndedJob job, Done done);

  /// Calls back when all that was written before has been kept; UNAVAILABLE: some of
  /// that is not yet, or never will be.
  void Flush(Done done);

  using Deleted = std::function<void(const absl::StatusOr<bool>&)>;

  /// Deletes an ended job, between commits; then calls back with whether it was there.
  void Delete(std::string id, Deleted done);

  /// Deletes what has expired by then, a few at a time between commits, and gives some of
  /// the space back that was free before.
  void DeleteExpired(absl::Time now);

  /// Waits while too much waits to be written, until Release.
  void AwaitRoom();
  /// AwaitRoom does not wait any more.
  void Release();

  /// Tries once more to keep all that was written, then ends the threads. Nothing may be
  /// written any more. Idempotent.
  void Stop();

 private:
  enum class Type : unsigned char { kCreate, kChange, kEnd, kFlush };
  struct Write {
    Type type;
    bool more_follow = false;  // of the same Create
    JobWrite write;            // but of kFlush
    Done done;                 // of the last of a Create, kEnd and kFlush
  };
  using Writes = std::deque<Write>;

  void Add(Write write) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void CommitAll();
  void CallBackAll();
  bool HasWork() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    return !pending_.empty() || !deletes_.empty() || expired_by_.has_value();
  }
  void DeleteSome();
  // All that wait, with `status`.
  void RefuseDeletes(const absl::Status& status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void DeleteSomeExpired();
  // Those that touch the disk.
  void BeginCommit();
  void EndCommit();
  Writes TakeBatch();
  absl::Status CommitBatch(const Writes& batch);
  void CommitSome();
  // Whether all in it belong together.
  static bool IsOne(const Writes& batch);
  void PutBack(Writes writes) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // What becomes of a batch: those to call back go to told_, those to try again to pending_.
  void Sort(Writes batch, const absl::Status& status);
  // Of the changes of a job that wait for a store that takes them, the last says it all: where the first is,
  // since others may have been told that they are kept when that is.
  void DropOutdated() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  bool HasRoom() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    return pending_.size() + told_.size() <= kRoom && pending_bytes_ <= kRoomBytes;
  }
  static size_t BytesOf(const Write& write) {
    return write.write.job != nullptr ? write.write.job->Bytes() : 0;
  }
  void SetHealth(const absl::Status& status);

  JobStore& store_;
  ThreadRegistry& registry_;
  StoreMetrics& metrics_;
  const absl::Duration max_commit_time_;
  std::atomic<int64_t> max_bytes_;

  mutable Mutex mu_;
  CondVar added_;
  CondVar room_;
  CondVar told_changed_;
  Writes pending_ ABSL_GUARDED_BY(mu_);
  size_t pending_bytes_ ABSL_GUARDED_BY(mu_) = 0;  // of their records
  std::deque<std::pair<std::string, Deleted>> deletes_ ABSL_GUARDED_BY(mu_);
  std::deque<std::pair<Done, absl::Status>> told_ ABSL_GUARDED_BY(mu_);
  // The numbers of jobs that were refused and have not ended.
  absl::flat_hash_set<uint64_t> refused_ ABSL_GUARDED_BY(mu_);
  absl::Status health_ ABSL_GUARDED_BY(mu_);
  absl::Status last_refusal_ ABSL_GUARDED_BY(mu_);
  std::function<void()> on_health_ ABSL_GUARDED_BY(mu_);
  std::optional<MonotonicTime> commit_start_ ABSL_GUARDED_BY(mu_);  // of the commit that runs
  std::optional<absl::Time> expired_by_ ABSL_GUARDED_BY(mu_);  // set: what expired till then is to be deleted
  int registered_ ABSL_GUARDED_BY(mu_) = 0;
  bool released_ ABSL_GUARDED_BY(mu_) = false;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  bool committed_all_ ABSL_GUARDED_BY(mu_) = false;

  size_t max_batch_;  // of the next commit, but for those that belong together; committer_'s alone
  std::thread committer_;
  std::thread caller_;
};

}  // namespace jobpool
