// Jobs in processes: no-ops through a real pipeline, with the isolation PROCESS and with THREAD, against fork
// and exec of /bin/true for each, one after the other and by as many threads as the pool has; all taking
// turns.
//
//   process_bench [SECONDS [ROUNDS]]

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <vector>

#include <prometheus/registry.h>

#include "server/pipeline/pipeline.h"
#include "server/pipeline/process_task.h"
#include "server/process/fork_server.h"
#include "server/process/fork_server_main.h"
#include "server/process/worker.h"
#include "server/store/memory_store.h"
#include "server/workers/process_pool.h"
#include "tests/bench/report.h"

namespace jobpool {
namespace {

constexpr int kInFlight = 64;

int RunWorkerHere(int socket) {
  const HandlerRegistry handlers;
  return RunWorker(socket, [&handlers](absl::string_view task, WorkerContext& context) {
    return RunTask(handlers, task, context);
  });
}

/// Submits another job whenever one has ended.
class Again final : public Waiter, public std::enable_shared_from_this<Again> {
 public:
  Again(Pipeline& pipeline, Isolation isolation) : pipeline_(pipeline), isolation_(isolation) {}

  void Submit() {
    JobSpec spec;
    spec.work = NoopWork{};
    spec.pool = "compute";
    spec.isolation = isolation_;
    if (!pipeline_.admission().Submit(std::move(spec), shared_from_this()).ok()) std::exit(1);
  }

  void OnJobEnd(const EndedJob& job) override {
    if (job->state != JobState::kSucceeded) std::exit(1);
    ended.fetch_add(1);
    if (stop.load()) {
      left.fetch_sub(1);
    } else {
      Submit();
    }
  }

  void OnJobLeft() override { std::exit(1); }

  std::atomic<int64_t> ended{0};
  std::atomic<int> left{kInFlight};
  std::atomic<bool> stop{false};

 private:
  Pipeline& pipeline_;
  const Isolation isolation_;
};

double JobsPerSecond(Pipeline& pipeline, Isolation isolation, double seconds) {
  const auto again = std::make_shared<Again>(pipeline, isolation);
  const bench::Stopwatch watch;
  for (int i = 0; i < kInFlight; ++i) again->Submit();
  std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
  again->stop = true;
  while (again->left.load() > 0) std::this_thread::yield();
  return static_cast<double>(again->ended.load()) / watch.Seconds();
}

double SpawnsPerSecond(int threads, double seconds) {
  std::atomic<int64_t> spawned{0};
  const bench::Stopwatch watch;
  std::vector<std::thread> workers;
  for (int i = 0; i < threads; ++i) {
    workers.emplace_back([&] {
      char program[] = "/bin/true";
      char* argv[] = {program, nullptr};
      while (watch.Seconds() < seconds) {
        const pid_t pid = fork();
        if (pid == 0) {
          execv(program, argv);
          _exit(127);
        }
        int status = 0;
        if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0) std::exit(1);
        spawned.fetch_add(1);
      }
    });
  }
  for (std::thread& worker : workers) worker.join();
  return static_cast<double>(spawned.load()) / watch.Seconds();
}

void Bench(double seconds, int rounds) {
  const int threads = static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
  ThreadRegistry registry;
  const HandlerRegistry handlers;
  MemoryStore store(100);
  prometheus::Registry metrics;
  ForkServer fork_server;
  ProcessPool processes({}, fork_server, registry);
  PipelineOptions options;
  options.pools.resize(2);
  options.pools[0].name = "blocking";
  options.pools[1].name = "compute";
  options.pools[1].max_threads = threads;
  Pipeline pipeline(options, handlers, store, registry, metrics, Clock::Real(), nullptr, &processes);
  std::vector<double> processes_rate, threads_rate, spawns_rate, one_ratio, all_ratio;
  for (int round = 0; round <= rounds; ++round) {
    const double one = SpawnsPerSecond(1, seconds);
    const double process = JobsPerSecond(pipeline, Isolation::kProcess, seconds);
    const double all = SpawnsPerSecond(threads, seconds);
    const double thread = JobsPerSecond(pipeline, Isolation::kThread, seconds);
    if (round == 0) continue;  // warm-up
    processes_rate.push_back(process);
    threads_rate.push_back(thread);
    spawns_rate.push_back(one);
    one_ratio.push_back(process / one);
    all_ratio.push_back(process / all);
  }
  using bench::Report;
  Report({"process_per_second", "no-ops in processes, through the pipeline, 64 in flight", "", "/s"},
         processes_rate);
  Report({"thread_per_second", "the same in threads", "", "/s"}, threads_rate);
  Report({"spawns_per_second", "fork and exec of `/bin/true`, one after the other", "", "/s"}, spawns_rate);
  Report({"process_noops", "process-isolated no-ops", "fork and exec of `/bin/true` for each", "ratio",
          bench::AtLeast(50)},
         one_ratio);
  Report({"process_noops_all", "process-isolated no-ops",
          "fork and exec of `/bin/true` by as many threads as the pool has", "ratio"},
         all_ratio);
}

}  // namespace
}  // namespace jobpool

int main(int argc, char** argv) {
  if (argc > 1 && std::strcmp(argv[1], jobpool::kForkServerArgument) == 0) {
    return jobpool::RunForkServer(&jobpool::RunWorkerHere);
  }
  jobpool::Bench(argc > 1 ? std::atof(argv[1]) : 1, argc > 2 ? std::atoi(argv[2]) : 5);
}
