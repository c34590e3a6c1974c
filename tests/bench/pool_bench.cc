// The dispatch of no-ops to two workers, from one producer and from four: what a mutex and a deque can do,
// oneTBB's arena, and the server's pool of tasks, whose threads are in roll call; none refuses a task. And
// jobs, each with its record, its end and its metrics, through the pipeline. In turns; all count the tasks
// that were done.
//
//   pool_bench [TASKS [ROUNDS]]     TASKS: of each; a quarter of them for oneTBB, a tenth as jobs

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <prometheus/registry.h>
#ifdef JOBPOOL_BENCH_TBB
#include <tbb/global_control.h>
#include <tbb/task_arena.h>
#endif

#include "absl/strings/str_cat.h"
#include "server/pipeline/pipeline.h"
#include "server/store/memory_store.h"
#include "server/workers/service_pool.h"
#include "tests/bench/report.h"

namespace jobpool::bench {
namespace {

constexpr int kWorkers = 2;

/// Waits until so many tasks are done.
class Countdown {
 public:
  explicit Countdown(int64_t tasks) : left_(tasks) {}
  void Done() {
    if (left_.fetch_sub(1, std::memory_order_acq_rel) == 1) left_.notify_all();
  }
  void Wait() const {
    for (int64_t left = left_.load(); left > 0; left = left_.load()) left_.wait(left);
  }

 private:
  std::atomic<int64_t> left_;
};

/// Calls `submit` for each of `tasks`, on as many threads as there are `producers`; returns tasks done a
/// second.
template <typename Submit>
double TasksPerSecond(int producers, int64_t tasks, const Countdown& countdown, const Submit& submit) {
  std::vector<std::thread> threads;
  const Stopwatch watch;
  for (int i = 0; i < producers; ++i) {
    threads.emplace_back([&] {
      for (int64_t task = 0; task < tasks / producers; ++task) submit();
    });
  }
  for (std::thread& thread : threads) thread.join();
  countdown.Wait();
  return static_cast<double>(tasks) / watch.Seconds();
}

/// What one writes first: a mutex, a deque, a condition variable.
class DequePool {
 public:
  DequePool() {
    for (int i = 0; i < kWorkers; ++i) workers_.emplace_back([this] { Run(); });
  }
  ~DequePool() {
    {
      const std::lock_guard<std::mutex> lock(mu_);
      stopping_ = true;
    }
    ready_.notify_all();
    for (std::thread& worker : workers_) worker.join();
  }
  DequePool(const DequePool&) = delete;
  DequePool& operator=(const DequePool&) = delete;

  void Submit(std::function<void()> task) {
    {
      const std::lock_guard<std::mutex> lock(mu_);
      tasks_.push_back(std::move(task));
    }
    ready_.notify_one();
  }

 private:
  void Run() {
    std::unique_lock<std::mutex> lock(mu_);
    for (;;) {
      ready_.wait(lock, [this] { return stopping_ || !tasks_.empty(); });
      if (tasks_.empty()) return;
      const std::function<void()> task = std::move(tasks_.front());
      tasks_.pop_front();
      lock.unlock();
      task();
      lock.lock();
    }
  }

  std::mutex mu_;
  std::condition_variable ready_;
  std::deque<std::function<void()>> tasks_;  // guarded by mu_
  bool stopping_ = false;                    // likewise
  std::vector<std::thread> workers_;
};

double DequeRate(int producers, int64_t tasks) {
  Countdown countdown(tasks);
  DequePool pool;
  return TasksPerSecond(producers, tasks, countdown,
                        [&] { pool.Submit([&countdown] { countdown.Done(); }); });
}

#ifdef JOBPOOL_BENCH_TBB
double ArenaRate(int producers, int64_t tasks) {
  // oneTBB counts the thread that waits as one of them.
  const tbb::global_control threads(tbb::global_control::max_allowed_parallelism, kWorkers + 1);
  Countdown countdown(tasks);
  tbb::task_arena arena(kWorkers, 0);
  return TasksPerSecond(producers, tasks, countdown,
                        [&] { arena.enqueue([&countdown] { countdown.Done(); }); });
}
#endif

double PoolRate(int producers, int64_t tasks) {
  Countdown countdown(tasks);
  ThreadRegistry threads;
  ServicePool pool(threads, kWorkers, kWorkers, static_cast<int>(tasks));
  return TasksPerSecond(producers, tasks, countdown, [&] {
    if (!pool.Run([&countdown] { countdown.Done(); })) std::abort();
  });
}

struct CountedJobs final : Waiter {
  explicit CountedJobs(int64_t jobs) : countdown(jobs) {}
  void OnJobEnd(const EndedJob&) override { countdown.Done(); }
  void OnJobLeft() override { std::abort(); }

  Countdown countdown;
};

/// Jobs through the whole pipeline, held in memory.
class JobRate {
 public:
  JobRate() : pipeline_(Options(), handlers_, store_, threads_, metrics_) {}

  double operator()(int producers, int64_t tasks) {
    const auto waiter = std::make_shared<CountedJobs>(tasks);
    return TasksPerSecond(producers, tasks, waiter->countdown, [&] {
      JobSpec spec;
      spec.work = NoopWork{};
      if (!pipeline_.admission().Submit(std::move(spec), waiter).ok()) std::abort();
    });
  }

 private:
  static PipelineOptions Options() {
    PipelineOptions options;
    options.pools.resize(2);
    options.pools[0].name = "blocking";
    options.pools[1].name = "compute";
    options.pools[1].min_threads = kWorkers;
    options.pools[1].max_threads = kWorkers;
    return options;
  }

  const HandlerRegistry handlers_;
  MemoryStore store_{100};
  ThreadRegistry threads_;
  prometheus::Registry metrics_;
  Pipeline pipeline_;
};

void Bench(int64_t tasks, int rounds) {
  JobRate jobs;
  for (const int producers : {1, 4}) {
    std::vector<double> deques, arenas, pools, ratios, job_rates, job_ratios;
    for (int round = 0; round <= rounds; ++round) {
      // Of each the best of three: what others take of the processors meanwhile falls on one of them.
      double deque = 0, arena = 0, pool = 0;
      for (int i = 0; i < 3; ++i) {
        deque = std::max(deque, DequeRate(producers, tasks));
#ifdef JOBPOOL_BENCH_TBB
        arena = std::max(arena, ArenaRate(producers, tasks / 4));
#endif
        pool = std::max(pool, PoolRate(producers, tasks));
      }
      const double best = std::max(deque, arena);
      const double job = jobs(producers, tasks / 10);
      if (round == 0) continue;  // warm-up
      deques.push_back(deque);
      if (arena > 0) arenas.push_back(arena);
      pools.push_back(pool);
      ratios.push_back(pool / best);
      job_rates.push_back(job);
      job_ratios.push_back(job / best);
    }
    const std::string suffix = absl::StrCat("_", producers);
    const std::string from = producers == 1 ? ", from one producer" : ", from four producers";
    Report({"deque" + suffix, "no-ops through a mutex and a deque" + from, "", "/s"}, deques);
    if (!arenas.empty()) Report({"arena" + suffix, "no-ops through oneTBB's arena" + from, "", "/s"}, arenas);
    const std::string best =
        arenas.empty() ? "a mutex-and-deque pool" : "the best of a mutex-and-deque pool and oneTBB's arena";
    Report({"dispatch" + suffix + "_per_second", "no-ops through a pool of the server" + from, "", "/s"},
           pools);
    Report({"dispatch" + suffix, "pool dispatch of no-ops" + from, best, "ratio", MustBeAtLeast(1.5)},
           ratios);
    const std::string job = "no-op jobs through the pipeline, in memory";
    Report({"jobs" + suffix + "_per_second", job + from, "", "/s"}, job_rates);
    Report({"jobs" + suffix, job + from, best, "ratio"}, job_ratios);
  }
}

}  // namespace
}  // namespace jobpool::bench

int main(int argc, char** argv) {
  jobpool::bench::Bench(argc > 1 ? std::atoll(argv[1]) : 2'000'000, argc > 2 ? std::atoi(argv[2]) : 9);
  return 0;
}
