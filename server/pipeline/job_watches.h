#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/container/inlined_vector.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/base/mutex.h"
#include "server/pipeline/job_events.h"
#include "server/pipeline/job_reader.h"
#include "server/pipeline/job_watch.h"
#include "server/workers/thread_registry.h"

namespace jobpool {

/// Lets callers watch jobs: gives each event of the log to the watches that want it, on
/// a thread of role SERVICE that runs from the first watch on. Thread-safe.
class JobWatches {
 public:
  /// All outlive it. `max_watches`: how many may be open at a time.
  JobWatches(JobEvents& events, const JobReader& reader, ThreadRegistry& registry, int64_t max_watches)
      : events_(events), reader_(reader), registry_(registry), max_watches_(max_watches) {}
  ~JobWatches();
  JobWatches(const JobWatches&) = delete;
  JobWatches& operator=(const JobWatches&) = delete;

  /// Starts a watch, to be closed in the end. `wake` is called when there is something
  /// to take after Take has said that there was not; on any thread, without locks: be
  /// short, do not block. May block as JobReader does.
  ///
  /// NOT_FOUND: there is no job of one of the ids. OUT_OF_RANGE: `spec.after` is not
  /// known any more. RESOURCE_EXHAUSTED: there are too many watches, or more than
  /// kMaxWatchedJobs match. UNAVAILABLE: after Shutdown.
  absl::StatusOr<std::shared_ptr<JobWatch>> Watch(WatchSpec spec, std::function<void()> wake);

  /// Every watch ends when it has told what has happened so far, also those that are yet
  /// to come.
  void Shutdown();

  /// Ends the thread. Idempotent.
  void Stop();

  void set_max_watches(int64_t max_watches) { max_watches_.store(max_watches); }

 private:
  friend class JobWatch;

  using ToWake = std::vector<std::shared_ptr<JobWatch>>;

  absl::Status Add(const std::shared_ptr<JobWatch>& watch) ABSL_LOCKS_EXCLUDED(mu_);
  absl::Status Prepare(JobWatch& watch);
  void Close(JobWatch& watch) ABSL_LOCKS_EXCLUDED(mu_);
  // Gives out what is in the log up to `until`, which it holds, or one batch of it.
  void Distribute(uint64_t until) ABSL_LOCKS_EXCLUDED(mu_);
  void DistributeBatch(ToWake& to_wake) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::Status StartThread() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Run();

  JobEvents& events_;
  const JobReader& reader_;
  ThreadRegistry& registry_;
  std::atomic<int64_t> max_watches_;
  std::atomic<uint64_t> distributed_{0};  // up to this event all was given out; written under mu_

  Mutex mu_;
  bool shut_down_ ABSL_GUARDED_BY(mu_) = false;
  bool stopped_ ABSL_GUARDED_BY(mu_) = false;
  absl::flat_hash_set<std::shared_ptr<JobWatch>> watches_ ABSL_GUARDED_BY(mu_);
  absl::flat_hash_set<JobWatch*> by_filter_ ABSL_GUARDED_BY(mu_);
  absl::flat_hash_map<std::string, absl::InlinedVector<JobWatch*, 1>> by_id_ ABSL_GUARDED_BY(mu_);
  std::thread thread_ ABSL_GUARDED_BY(mu_);
};

}  // namespace jobpool
