#pragma once

#include <atomic>
#include <deque>
#include <functional>

#include "server/base/mutex.h"
#include "server/workers/executor.h"
#include "server/workers/thread_pool.h"
#include "server/workers/thread_registry.h"

namespace jobpool {

/// Threads of role SERVICE that do what may block, so that gRPC's own threads
/// need not. Thread-safe. Destruction runs what was accepted, then joins.
class ServicePool {
 public:
  /// Keeps `min_threads` and grows to `max_threads` while tasks wait.
  ServicePool(ThreadRegistry& registry, int min_threads, int max_threads, int max_tasks);

  /// Runs `task` on one of the threads, tasks in the order of their coming. Returns
  /// false, and drops the task, if `max_tasks` wait already or it
  /// was stopped.
  bool Run(std::function<void()> task);

  /// Accepts no more, runs what was accepted, then ends the threads. Idempotent.
  void Stop();

  int max_tasks() const { return max_tasks_; }

 private:
  class TaskQueue final : public WorkSource {
   public:
    /// Returns false if `max_tasks` are there already, or it is closed.
    bool Push(std::function<void()> task, int max_tasks);

    /// Pushes fail from now on.
    void Close();

    bool RunOne(RegisteredThread& worker) override;
    bool HasWork() const override { return size_.load() > 0; }

   private:
    Mutex mu_;
    std::deque<std::function<void()>> tasks_ ABSL_GUARDED_BY(mu_);
    bool closed_ ABSL_GUARDED_BY(mu_) = false;
    std::atomic<size_t> size_{0};  // of tasks_; written under mu_
  };

  const int max_tasks_;
  TaskQueue queue_;
  ThreadPool threads_;  // last: it takes from queue_
};

}  // namespace jobpool
