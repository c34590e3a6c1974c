#pragma once

#include <functional>

#include "server/workers/task_queue.h"
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

  int max_tasks() const { return queue_.max_tasks(); }

 private:
  TaskQueue queue_;
  ThreadPool threads_;  // last: it takes from queue_
};

}  // namespace jobpool
