#pragma once

#include <atomic>
#include <list>
#include <string>
#include <thread>
#include <vector>

#include "absl/time/time.h"
#include "server/base/clock.h"
#include "server/base/mutex.h"
#include "server/workers/executor.h"
#include "server/workers/thread_registry.h"

namespace jobpool {

/// How many threads there are when.
struct ThreadPoolSize {
  int min_threads = 0;  // started at once and kept
  int max_threads = 1;  // at least 1, and min_threads
  absl::Duration idle_timeout = absl::Seconds(10);
};

/// Its threads at one moment.
struct ThreadPoolLoad {
  int threads = 0;     // that have been started and have not ended, without lost ones
  int idle = 0;        // those of them that wait for work and were not woken
  int lost = 0;        // that were replaced, and have not ended
  int beyond_max = 0;  // those of `threads` that end when they have done what they are on
};

struct ThreadPoolOptions {
  std::string name;
  ThreadRole role = ThreadRole::kWorker;
  ThreadPoolSize size;
};

/// Threads that take from one source: more while work waits, fewer when they
/// idle. The worker that went idle last is woken first, so that those not needed
/// time out. Destruction stops it.
class ThreadPool final : public Executor {
 public:
  /// Returns when `min_threads` are registered. `registry`, `source` and `clock`
  /// outlive the pool.
  ThreadPool(ThreadPoolOptions options, ThreadRegistry& registry, WorkSource& source,
             const Clock& clock = Clock::Real());
  ~ThreadPool() override;

  void Notify() override;
  void Stop() override;

  /// Starts what is missing to the minimum at once. Threads beyond the maximum end
  /// when they have run what they are on.
  void Resize(const ThreadPoolSize& size);

  /// The worker on the thread `thread_id` is lost: it ends when its piece of work
  /// returns, and does not count until then, so that another can take its place.
  /// Returns false, and changes nothing, if as many as the pool's maximum are lost
  /// already, or it is none of the pool's that
  /// is at work.
  bool Replace(uint64_t thread_id);

  ThreadPoolLoad Load() const;

  /// How often the system refused a thread.
  uint64_t failed_starts() const { return failed_starts_.load(std::memory_order_relaxed); }

 private:
  struct Worker {
    std::thread thread;
    CondVar wake;
    bool woken = false;      // guarded by the pool's mu_
    uint64_t thread_id = 0;  // likewise
    std::atomic<bool> replaced{false};
  };

  void StartWorker() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void WakeOrStartWorker() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void RunWorker(std::list<Worker>::iterator self);
  /// Waits for work; returns false when the worker shall end.
  bool AwaitWork(std::list<Worker>::iterator self);
  void Retire(std::list<Worker>::iterator self) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void RemoveFromIdle(Worker* worker) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void CountThread(int change) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const std::string name_;
  const ThreadRole role_;
  ThreadRegistry& registry_;
  WorkSource& source_;
  const Clock& clock_;

  // Copies for Notify to read without the lock; written under mu_.
  std::atomic<int> idle_count_{0};
  std::atomic<bool> at_max_{false};
  std::atomic<bool> over_max_{false};
  std::atomic<uint64_t> failed_starts_{0};

  mutable Mutex mu_;
  ThreadPoolSize size_ ABSL_GUARDED_BY(mu_);
  CondVar registered_cv_;
  std::list<Worker> workers_ ABSL_GUARDED_BY(mu_);
  std::list<Worker> retired_ ABSL_GUARDED_BY(mu_);  // ended or about to, not joined
  std::vector<Worker*> idle_ ABSL_GUARDED_BY(mu_);  // last in, first woken
  int threads_ ABSL_GUARDED_BY(mu_) = 0;            // without those that are lost
  int replaced_ ABSL_GUARDED_BY(mu_) = 0;           // lost ones that have not ended
  int registered_ ABSL_GUARDED_BY(mu_) = 0;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace jobpool
