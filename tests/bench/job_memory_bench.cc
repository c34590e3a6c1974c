// The memory of a job by its state: what the process grows by as jobs come into a real pipeline and stay in
// that state, beside what they are in serialized form. Each state has a process of its own, so that none is
// given what another has let go of.
//
//   job_memory_bench [JOBS [FOLDER [STATE]]]     FOLDER: for the store's file; STATE: that one alone
//
// Running jobs are too few to be seen in resident pages, as each has a thread: of them it is what the
// allocator has given out, for kThreads jobs on as many threads that were there before. Threads then keep
// nothing of what they free for themselves, which would hide it.

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <future>
#include <memory>
#include <string>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <utility>
#include <vector>

#include <prometheus/registry.h>

#include "absl/strings/str_cat.h"
#include "server/pipeline/pipeline.h"
#include "server/service/job_codec.h"
#include "server/store/memory_store.h"
#include "server/store/sqlite_store.h"
#include "tests/bench/folder.h"
#include "tests/bench/report.h"

// The allocator's, which a build with a sanitizer does not have.
extern "C" __attribute__((weak)) int mallctl(const char* name, void* old, size_t* old_size, void* now,
                                             size_t now_size);

namespace jobpool {
namespace {

constexpr int kThreads = 500;
constexpr int kBatch = 1000;  // live at a time, where jobs end

void Check(const absl::Status& status) {
  if (status.ok()) return;
  std::fprintf(stderr, "job_memory_bench: %s\n", std::string(status.message()).c_str());
  std::_Exit(1);
}

double ResidentBytes() {
  std::ifstream file("/proc/self/statm");
  double total = 0;
  double resident = 0;
  file >> total >> resident;
  return resident * static_cast<double>(sysconf(_SC_PAGESIZE));
}

double AllocatedBytes() {
  uint64_t epoch = 1;
  size_t allocated = 0;
  size_t size = sizeof(allocated);
  if (mallctl == nullptr || mallctl("epoch", nullptr, nullptr, &epoch, sizeof(epoch)) != 0 ||
      mallctl("stats.allocated", &allocated, &size, nullptr, 0) != 0) {
    Check(absl::InternalError("the allocator does not count"));
  }
  return static_cast<double>(allocated);
}

double SerializedBytes(const JobSnapshot& job) {
  v1::Job encoded;
  EncodeJob(job, JobView::kFull, &encoded);
  return static_cast<double>(encoded.ByteSizeLong());
}

/// Of a job.
struct Bytes {
  std::vector<double> memory;  // as it was measured, time and again
  double serialized = 0;
};

struct Setup {
  int queued = kBatch;  // at most
  int threads = 1;
  size_t ended = 100;       // kept in memory
  std::string folder = {};  // of the store on disk; empty: there is none
};

/// A pipeline with one pool for all jobs.
class Jobs {
 public:
  explicit Jobs(const Setup& setup) : store_(setup.ended, SIZE_MAX) {
    if (!setup.folder.empty()) {
      auto disk = SqliteStore::Open(setup.folder + "/jobs.db");
      Check(disk.status());
      disk_ = *std::move(disk);
    }
    PipelineOptions options;
    options.pools.resize(2);
    options.pools[0].name = "blocking";
    options.pools[1].name = "compute";
    options.pools[1].min_threads = options.pools[1].max_threads = setup.threads;
    options.pools[1].max_queued_jobs = setup.queued + 1;
    pipeline_ =
        std::make_unique<Pipeline>(options, handlers_, disk_ ? static_cast<JobStore&>(*disk_) : store_,
                                   threads_, metrics_, Clock::Real(), disk_.get());
  }

  Pipeline& pipeline() { return *pipeline_; }

  JobHandle Submit(Work work, JobOptions options = {}) {
    JobSpec spec;
    spec.work = std::move(work);
    spec.pool = "compute";
    spec.options = std::move(options);
    absl::StatusOr<Submission> job = pipeline_->admission().Submit(std::move(spec));
    Check(job.status());
    return std::move(job->job);
  }

  /// The workers have something else to do than the jobs to come.
  void KeepBusy() { Submit(SleepWork{kMaxSleep}); }

  void AwaitKept(std::vector<JobHandle> jobs) {
    std::promise<absl::Status> kept;
    pipeline_->admission().AwaitKept(std::move(jobs), [&](const absl::Status& how) { kept.set_value(how); });
    Check(kept.get_future().get());
  }

  void AwaitLive(size_t jobs) {
    while (pipeline_->live_jobs() != jobs) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }

 private:
  ThreadRegistry threads_;
  const HandlerRegistry handlers_;
  MemoryStore store_;
  std::unique_ptr<SqliteStore> disk_;
  prometheus::Registry metrics_;
  std::unique_ptr<Pipeline> pipeline_;
};

/// Jobs that wait in the queue, or until tomorrow.
Bytes MeasureWaiting(int jobs, const std::string& folder, bool scheduled) {
  Jobs& those = *new Jobs({.queued = jobs, .folder = folder});  // stays: it would end with its jobs
  those.KeepBusy();
  JobOptions options;
  if (scheduled) options.schedule_time = Clock::Real().Now() + absl::Hours(24);
  const double before = ResidentBytes();
  double serialized = 0;
  std::vector<JobHandle> batch;
  for (int i = 0; i < jobs; ++i) {
    JobHandle job = those.Submit(NoopWork{}, options);
    serialized += SerializedBytes(job.Snapshot());
    if (folder.empty()) continue;
    batch.push_back(std::move(job));
    if (batch.size() == kBatch || i + 1 == jobs) those.AwaitKept(std::exchange(batch, {}));
  }
  return {{(ResidentBytes() - before) / jobs}, serialized / jobs};
}

Bytes MeasureEnded(int jobs) {
  Jobs those({.ended = static_cast<size_t>(jobs)});
  const double before = ResidentBytes();
  double serialized = 0;
  for (int done = 0; done < jobs;) {
    std::vector<std::string> ids;
    for (; ids.size() < kBatch && done < jobs; ++done)
      ids.push_back(those.Submit(NoopWork{}).Snapshot().record.id);
    those.AwaitLive(0);
    for (const std::string& id : ids) {
      const absl::StatusOr<JobHandle> job = those.pipeline().reader().Find(id);
      Check(job.status());
      serialized += SerializedBytes(job->Snapshot());
    }
  }
  return {{(ResidentBytes() - before) / jobs}, serialized / jobs};
}

/// Some rounds, after one that does not count.
Bytes MeasureRunning() {
  constexpr int kRounds = 9;
  Jobs those({.queued = kThreads, .threads = kThreads, .ended = 0});
  std::vector<double> grown;
  double serialized = 0;
  for (int round = 0; round <= kRounds; ++round) {
    std::vector<JobHandle> jobs;
    jobs.reserve(kThreads);
    const double before = AllocatedBytes();
    for (int i = 0; i < kThreads; ++i) jobs.push_back(those.Submit(SleepWork{kMaxSleep}));
    for (const JobHandle& job : jobs) {
      while (job.Snapshot().record.state != JobState::kRunning) std::this_thread::yield();
    }
    if (round > 0) grown.push_back((AllocatedBytes() - before) / kThreads);
    for (const JobHandle& job : jobs) {
      if (round == kRounds) serialized += SerializedBytes(job.Snapshot()) / kThreads;
      those.pipeline().control().Cancel(job.live, CancelReason::kRequested);
    }
    those.AwaitLive(0);
  }
  return {grown, serialized};
}

struct State {
  const char* name;
  const char* what;
};
constexpr State kStates[] = {{"queued", "a queued job"},
                             {"scheduled", "a scheduled job"},
                             {"running", "a running job (without its thread)"},
                             {"ended", "an ended job kept in memory"},
                             {"durable", "a queued job on disk (in the server's memory)"}};

void Measure(const State& state, int jobs, const std::string& folder) {
  const std::string name = state.name;
  Bytes bytes;
  if (name == "running") {
    jobs = kThreads;
    bytes = MeasureRunning();
  } else if (name == "ended") {
    bytes = MeasureEnded(jobs);
  } else {
    bytes = MeasureWaiting(jobs, name == "durable" ? folder : "", name == "scheduled");
  }
  const std::string of = absl::StrCat("memory of ", state.what);
  bench::Report({absl::StrCat(name, "_job_bytes"), of, "", "bytes"}, bytes.memory);
  std::vector<double> beyond = bytes.memory;
  for (double& each : beyond) each -= bytes.serialized;
  const std::string how_many = absl::StrCat(" beyond its serialized size, ", jobs, " ");
  if (name == "queued") {
    bench::Report({"queue_memory", absl::StrCat(of, how_many, name), "", "bytes", bench::AtMost(256)},
                  beyond);
  } else {
    bench::Report({absl::StrCat(name, "_memory"), absl::StrCat(of, how_many, "of them"), "", "bytes"},
                  beyond);
  }
}

}  // namespace
}  // namespace jobpool

int main(int argc, char** argv) {
  using namespace jobpool;
  const int jobs = argc > 1 ? std::atoi(argv[1]) : 1'000'000;
  const std::string dir = argc > 2 ? argv[2] : ".";
  const bench::Folder folder(absl::StrCat(dir, "/job_memory_bench.", getpid()));
  const std::string only = argc > 3 ? argv[3] : "";
  for (const State& state : kStates) {
    if (!only.empty() && only != state.name) continue;
    // Before anything is allocated for the one before.
    const pid_t child = fork();
    if (child == 0) {
      if (state.name == std::string("running") && std::getenv("MALLOC_CONF") == nullptr) {
        // The allocator reads it as a program begins.
        if (setenv("MALLOC_CONF", "tcache:false", 1) == 0) {
          execl("/proc/self/exe", argv[0], std::to_string(jobs).c_str(), dir.c_str(), state.name, nullptr);
        }
        std::_Exit(1);
      }
      Measure(state, jobs, folder.path());
      std::fflush(stdout);
      std::_Exit(0);  // rather than run them
    }
    int status = 0;
    if (child < 0 || waitpid(child, &status, 0) != child || status != 0) return 1;
  }
}
