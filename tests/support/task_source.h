#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <utility>

#include "server/base/mutex.h"
#include "server/workers/executor.h"
#include "server/workers/thread_registry.h"

namespace jobpool {

/// The simplest source of work: functions, first in, first out. Thread-safe.
class TaskSource final : public WorkSource {
 public:
  using Task = std::function<void(RegisteredThread& worker)>;

  void Push(Task task) {
    MutexLock lock(mu_);
    tasks_.push_back(std::move(task));
    size_.store(tasks_.size());
  }

  bool RunOne(RegisteredThread& worker) override {
    Task task;
    {
      MutexLock lock(mu_);
      if (tasks_.empty()) return false;
      task = std::move(tasks_.front());
      tasks_.pop_front();
      size_.store(tasks_.size());
    }
    task(worker);
    return true;
  }

  bool HasWork() const override { return size_.load() > 0; }

 private:
  Mutex mu_;
  std::deque<Task> tasks_ ABSL_GUARDED_BY(mu_);
  std::atomic<size_t> size_{0};  // of tasks_; written under mu_
};

}  // namespace jobpool
