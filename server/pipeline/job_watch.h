#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "server/base/mutex.h"
#include "server/pipeline/job_event.h"
#include "server/query/job_filter.h"

namespace jobpool {

class JobWatches;

/// What somebody wants to hear of.
struct WatchSpec {
  /// Jobs, each once; or, if empty, those that match `filter` when something has
  /// happened to them, or did before it.
  std::vector<std::string> ids;
  JobFilter filter;
  /// Set: what has happened after this event.
  std::optional<uint64_t> after;
  /// Without how the jobs stand at first.
  bool changes_only = false;
  /// With what programs write.
  bool output = false;
};

/// What comes next in a watch.
struct WatchItem {
  enum class Kind : unsigned char {
    kEvent,
    kNothingYet,    // `wake` is called when there is more
    kAllEnded,      // the end: all named jobs have ended, and that was told
    kShuttingDown,  // the end: the server shuts down, and all that was before was told
    kCut,           // the end, with an error
  };
  Kind kind = Kind::kNothingYet;
  SharedJobEvent event;
  /// Where to go on after this. Unset: it is not known yet, since how the jobs stand at
  /// first was not told to its end.
  std::optional<uint64_t> position;
  absl::Status error;  // of kCut
};

/// One watch: first how the jobs stand, then what happens to them, nothing twice. Holds
/// no events but their places in the log: who reads slowly holds nothing up.
class JobWatch : public std::enable_shared_from_this<JobWatch> {
 public:
  /// How many events may wait to be taken.
  static constexpr size_t kMaxWaiting = 10'000;

  /// What comes next. May block as JobReader does. REQUIRES: one thread at a time.
  WatchItem Take();

  /// Ends the watch: `wake` may still be called, once. To be called in the end by who
  /// started it. Idempotent, thread-safe.
  void Close();

 private:
  friend class JobWatches;

  // How far a job was told.
  struct Told {
    uint32_t revision = 0;
    uint64_t progress = 0;  // its version
  };

  JobWatch(JobWatches& watches, WatchSpec spec, std::function<void()> wake);

  // For JobWatches, under its lock. Each returns whether to call wake.
  bool Offer(uint64_t sequence);
  bool Cut(absl::Status error);
  bool ShutDown();

  bool Wants(const JobEvent& event) const;
  // How the next of the jobs stands that is still to be told of; null: there is none.
  SharedJobEvent NextInitial();
  bool WasTold(const JobEvent& event) const;
  WatchItem Item(WatchItem::Kind kind, SharedJobEvent event = nullptr) const;
  // The event after `position_`: of the log until `replay_until_`, then of those that were offered. Null:
  // `end` says why.
  SharedJobEvent NextEvent(WatchItem* end);

  JobWatches& watches_;
  const WatchSpec spec_;
  const std::function<void()> wake_;
  bool closed_ = false;  // guarded by the lock of watches_

  // Belongs to Take.
  std::vector<std::string> initial_;  // jobs whose state is to be told first
  size_t initial_told_ = 0;
  uint64_t position_ = 0;      // all up to this event was told
  uint64_t replay_until_ = 0;  // up to this event it reads the log itself
  // While the first states are told, and until all has been told that happened meanwhile.
  bool settled_ = false;
  uint64_t settled_at_ = 0;
  absl::flat_hash_map<uint64_t, Told> told_;  // by the jobs' numbers
  absl::flat_hash_set<uint64_t> alive_;       // named jobs, by their numbers, whose end was not told

  Mutex mu_;
  std::deque<uint64_t> offered_ ABSL_GUARDED_BY(mu_);
  absl::Status error_ ABSL_GUARDED_BY(mu_);
  bool shutting_down_ ABSL_GUARDED_BY(mu_) = false;
  bool awaits_ ABSL_GUARDED_BY(mu_) = false;  // to be woken
};

}  // namespace jobpool
