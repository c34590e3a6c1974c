#include "server/workers/service_pool.h"

#include <utility>

namespace jobpool {
namespace {

ThreadPoolOptions ServiceThreads(int min_threads, int max_threads) {
  ThreadPoolOptions options;
  options.role = ThreadRole::kService;
  options.size.min_threads = min_threads;
  options.size.max_threads = max_threads;
  return options;
}

}  // namespace

ServicePool::ServicePool(ThreadRegistry& registry, int min_threads, int max_threads, int max_tasks)
    : max_tasks_(max_tasks), threads_(ServiceThreads(min_threads, max_threads), registry, queue_) {}

bool ServicePool::Run(std::function<void()> task) {
  if (!queue_.Push(std::move(task), max_tasks_)) return false;
  threads_.Notify();
  return true;
}

void ServicePool::Stop() {
  queue_.Close();
  threads_.Stop();
}

void ServicePool::TaskQueue::Close() {
  MutexLock lock(mu_);
  closed_ = true;
}

bool ServicePool::TaskQueue::Push(std::function<void()> task, int max_tasks) {
  MutexLock lock(mu_);
  if (closed_ || tasks_.size() >= static_cast<size_t>(max_tasks)) return false;
  tasks_.push_back(std::move(task));
  size_.store(tasks_.size());
  return true;
}

bool ServicePool::TaskQueue::RunOne(RegisteredThread& worker) {
  std::function<void()> task;
  {
    MutexLock lock(mu_);
    if (tasks_.empty()) return false;
    task = std::move(tasks_.front());
    tasks_.pop_front();
    size_.store(tasks_.size());
  }
  worker.SetRunning(true);
  task();
  worker.SetRunning(false);
  return true;
}

}  // namespace jobpool
