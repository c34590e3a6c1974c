// The memory of a queued job: fills the queue of a real pipeline whose one worker is busy, and compares what
// the process has grown by with what the jobs are in serialized form.
//
//   queue_memory_bench [JOBS]

#include <cstdlib>
#include <fstream>
#include <malloc.h>
#include <string>
#include <unistd.h>

#include <prometheus/registry.h>

#include "server/pipeline/pipeline.h"
#include "server/service/job_codec.h"
#include "server/store/memory_store.h"
#include "tests/bench/report.h"

namespace {

double ResidentBytes() {
  std::ifstream file("/proc/self/statm");
  double total = 0;
  double resident = 0;
  file >> total >> resident;
  return resident * static_cast<double>(sysconf(_SC_PAGESIZE));
}

jobpool::JobSpec Spec(jobpool::Work work) {
  jobpool::JobSpec spec;
  spec.work = std::move(work);
  return spec;
}

}  // namespace

int main(int argc, char** argv) {
  using namespace jobpool;
  const int jobs = argc > 1 ? std::atoi(argv[1]) : 1'000'000;
  ThreadRegistry threads;
  const HandlerRegistry handlers;
  MemoryStore store(100);
  prometheus::Registry metrics;
  PipelineOptions options;
  options.pools.resize(2);
  options.pools[0].name = "blocking";
  options.pools[1].name = "compute";
  options.pools[1].max_queued_jobs = jobs + 1;
  Pipeline pipeline(options, handlers, store, threads, metrics);

  JobSpec blocker = Spec(SleepWork{kMaxSleep});
  blocker.pool = "compute";
  if (!pipeline.admission().Submit(std::move(blocker)).ok()) return 1;
  malloc_trim(0);
  const double before = ResidentBytes();
  double serialized = 0;
  for (int i = 0; i < jobs; ++i) {
    const auto job = pipeline.admission().Submit(Spec(NoopWork{}));
    if (!job.ok()) return 1;
    v1::Job encoded;
    EncodeJob(job->job.Snapshot(), JobView::kFull, &encoded);
    serialized += static_cast<double>(encoded.ByteSizeLong());
  }
  const double grown = ResidentBytes() - before;
  bench::Report({"queued_job_bytes", "memory of a queued job", "", "bytes"}, {grown / jobs});
  bench::Report({"queue_memory",
                 "memory of a queued job beyond its serialized size, " + std::to_string(jobs) + " queued", "",
                 "bytes", bench::AtMost(256)},
                {(grown - serialized) / jobs});
  std::_Exit(0);  // rather than run them
}
