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
    : queue_(max_tasks), threads_(ServiceThreads(min_threads, max_threads), registry, queue_) {}

bool ServicePool::Run(std::function<void()> task) {
  if (!queue_.Push(std::move(task))) return false;
  threads_.Notify();
  return true;
}

void ServicePool::Stop() {
  queue_.Close();
  // A task may be there whose thread, the first, has not been asked for yet.
  if (queue_.HasWork()) threads_.Notify();
  threads_.Stop();
}

}  // namespace jobpool
