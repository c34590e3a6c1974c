#include "server/workers/thread_pool.h"

#include <algorithm>
#include <system_error>
#include <utility>

#include "server/base/holds_soon.h"

namespace jobpool {

namespace {

// How often a worker that has run out of work looks again, and lets others run in between, before it
// sleeps: some microseconds, where to be woken costs more. In turns without that, tasks from one producer
// came to 1.4 times a mutex and a deque in place of 1.8, and `StreamJobs` did a fifth less. Only in a pool
// that has all its threads: another would start one for what comes meanwhile.
constexpr int kLooks = 16;

}  // namespace

ThreadPool::ThreadPool(ThreadPoolOptions options, ThreadRegistry& registry, WorkSource& source,
                       const Clock& clock)
    : name_(std::move(options.name)),
      role_(options.role),
      registry_(registry),
      source_(source),
      clock_(clock),
      size_(options.size) {
  MutexLock lock(mu_);
  for (int i = 0; i < size_.min_threads; ++i) StartWorker();
  while (registered_ < threads_) registered_cv_.Wait(mu_);
}

ThreadPool::~ThreadPool() { Stop(); }

// Who sleeps and who brings work must not miss each other (Dekker): a worker
// first says that it is idle, or gone, and then looks for work; the source first
// has work and then, here, looks for idle or missing workers. All four accesses
// are sequentially consistent.
void ThreadPool::Notify() {
  if (idle_count_.load() == 0 && at_max_.load()) return;
  MutexLock lock(mu_);
  if (!stopping_) WakeOrStartWorker();
}

void ThreadPool::WakeOrStartWorker() {
  if (!idle_.empty()) {
    Worker* worker = idle_.back();
    RemoveFromIdle(worker);
    worker->woken = true;
    worker->wake.NotifyOne();
  } else if (threads_ < size_.max_threads) {
    StartWorker();
  }
}

void ThreadPool::Resize(const ThreadPoolSize& size) {
  MutexLock lock(mu_);
  size_ = size;
  CountThread(0);
  if (stopping_) return;
  while (threads_ < size_.min_threads) {
    const int before = threads_;
    StartWorker();
    if (threads_ == before) break;  // no more to be had
  }
  for (Worker* worker : idle_) worker->wake.NotifyOne();  // their time may be over, or longer
}

bool ThreadPool::Replace(uint64_t thread_id) {
  {
    MutexLock lock(mu_);
    const auto lost = std::find_if(workers_.begin(), workers_.end(),
                                   [&](const Worker& worker) { return worker.thread_id == thread_id; });
    if (lost == workers_.end() || lost->replaced.load() || replaced_ >= size_.max_threads) return false;
    if (std::find(idle_.begin(), idle_.end(), &*lost) != idle_.end()) return false;
    lost->replaced.store(true);
    ++replaced_;
    CountThread(-1);
    if (!stopping_ && threads_ < size_.min_threads) {
      StartWorker();
    } else if (!stopping_ && source_.HasWork()) {
      WakeOrStartWorker();
    }
  }
  registry_.Retire(thread_id);
  return true;
}

ThreadPoolLoad ThreadPool::Load() const {
  MutexLock lock(mu_);
  return {threads_, static_cast<int>(idle_.size()), replaced_, std::max(0, threads_ - size_.max_threads)};
}

void ThreadPool::Stop() {
  std::list<Worker> ended;
  {
    MutexLock lock(mu_);
    stopping_ = true;
    CountThread(0);
    for (Worker& worker : workers_) worker.wake.NotifyOne();
    while (threads_ + replaced_ > 0) registered_cv_.Wait(mu_);
    ended.swap(retired_);
  }
  for (Worker& worker : ended) worker.thread.join();
}

void ThreadPool::StartWorker() {
  const auto self = workers_.emplace(workers_.end());
  CountThread(+1);
  try {
    self->thread = std::thread([this, self] { RunWorker(self); });
  } catch (const std::system_error&) {
    // No more threads to be had. The work stays in the source: a worker that
    // becomes free, or the next Notify, takes it up.
    failed_starts_.fetch_add(1, std::memory_order_relaxed);
    workers_.erase(self);
    CountThread(-1);
  }
}

void ThreadPool::RunWorker(std::list<Worker>::iterator self) {
  RegisteredThread thread(registry_, role_, name_);
  {
    MutexLock lock(mu_);
    self->thread_id = thread.id();
    ++registered_;
    registered_cv_.NotifyAll();
  }
  do {
    while (!over_max_.load(std::memory_order_relaxed) && !self->replaced.load(std::memory_order_relaxed) &&
           (source_.RunOne(thread) || (at_max_.load(std::memory_order_relaxed) &&
                                       HoldsSoon(kLooks, [this] { return source_.HasWork(); })))) {
    }
    thread.SetRunning(false);
  } while (AwaitWork(self));
}

bool ThreadPool::AwaitWork(std::list<Worker>::iterator self) {
  const MonotonicTime idle_since = clock_.Monotonic();
  Worker& worker = *self;
  MutexLock lock(mu_);
  worker.woken = false;
  if (worker.replaced.load()) {
    --replaced_;
    Retire(self);
    // It may have been woken for work that it now leaves.
    if (source_.HasWork() && !stopping_) WakeOrStartWorker();
    return false;
  }
  if (threads_ > size_.max_threads && !stopping_) {
    CountThread(-1);
    Retire(self);
    // It may have been woken for work that it now leaves.
    if (source_.HasWork()) WakeOrStartWorker();
    return false;
  }
  idle_.push_back(&worker);
  idle_count_.store(static_cast<int>(idle_.size()));
  if (source_.HasWork()) {
    RemoveFromIdle(&worker);
    return true;
  }
  while (!worker.woken && !stopping_) {
    const bool kept = threads_ <= size_.min_threads;
    const MonotonicTime deadline = Later(idle_since, size_.idle_timeout);
    if (threads_ > size_.max_threads || (!kept && clock_.Monotonic() >= deadline)) break;
    clock_.WaitUntil(worker.wake, mu_, kept ? MonotonicTime::max() : deadline);
  }
  if (worker.woken) return true;
  RemoveFromIdle(&worker);
  CountThread(-1);
  if (source_.HasWork()) {  // came while it made up its mind
    CountThread(+1);
    return true;
  }
  Retire(self);
  return false;
}

// From here on the worker touches nothing of the pool. It joins those that
// retired before it: at most one ended thread is ever left unjoined.
void ThreadPool::Retire(std::list<Worker>::iterator self) {
  std::list<Worker> before;
  before.swap(retired_);
  retired_.splice(retired_.end(), workers_, self);
  --registered_;
  registered_cv_.NotifyAll();
  for (Worker& worker : before) worker.thread.join();
}

void ThreadPool::RemoveFromIdle(Worker* worker) {
  const auto found = std::find(idle_.rbegin(), idle_.rend(), worker);
  if (found != idle_.rend()) idle_.erase(std::next(found).base());
  idle_count_.store(static_cast<int>(idle_.size()));
}

void ThreadPool::CountThread(int change) {
  threads_ += change;
  at_max_.store(threads_ >= size_.max_threads);
  over_max_.store(threads_ > size_.max_threads &&
                  !stopping_);  // who stops runs what is there, with all it has
}

}  // namespace jobpool
