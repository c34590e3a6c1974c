// What single parts cost, each by itself on one thread: the queue, the registry of threads, decoding and
// encoding, the metrics.
//
//   micro_bench [ROUNDS [THREADS]]    THREADS: of the larger registry

#include <cstdlib>
#include <functional>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <prometheus/registry.h>

#include "absl/strings/str_cat.h"
#include "jobpool/v1/job_service.pb.h"
#include "server/http/pages.h"
#include "server/pipeline/job_queue.h"
#include "server/service/job_codec.h"
#include "server/telemetry/job_metrics.h"
#include "server/telemetry/rpc_metrics.h"
#include "server/workers/thread_registry.h"
#include "tests/bench/report.h"

namespace jobpool::bench {
namespace {

int rounds = 7;  // of each, after one that warms up

/// Reports what one of `count` operations takes that `work` does.
void Time(const char* name, const std::string& what, const char* unit, int count,
          const std::function<void()>& work) {
  const double scale = std::string(unit) == "ns" ? 1e9 : 1e6;
  std::vector<double> times;
  for (int round = 0; round <= rounds; ++round) {
    const Stopwatch watch;
    work();
    if (round > 0) times.push_back(scale * watch.Seconds() / count);
  }
  Report({name, what, "", unit}, times);
}

JobRecord MakeRecord() {
  JobRecord job;
  job.id = "01kabcdefghijklmnopqrstuvw";
  job.number = 1;
  job.work = NoopWork{};
  job.pool = std::make_shared<const std::string>("compute");
  job.create_time = absl::FromUnixSeconds(1'800'000'000);
  return job;
}

void BenchQueue() {
  constexpr int kJobs = 100'000;
  std::vector<std::shared_ptr<LiveJob>> jobs;
  for (int i = 0; i < kJobs; ++i) jobs.push_back(std::make_shared<LiveJob>(MakeRecord()));
  JobQueue queue;
  Time("queue_short", "`JobQueue`: push and take, one job in it", "ns", kJobs, [&] {
    for (auto& job : jobs) {
      queue.Push(std::move(job), 4);
      job = queue.Take({});
    }
  });
  Time("queue_long", "`JobQueue`: push and take, 100,000 jobs of 10 priorities in it", "ns", kJobs, [&] {
    int priority = 0;
    for (auto& job : jobs) queue.Push(std::move(job), priority++ % 10);
    for (auto& job : jobs) job = queue.Take({});
  });
}

void BenchRegistry(int threads) {
  ThreadRegistry registry;
  std::promise<void> end;
  const std::shared_future<void> ended = end.get_future().share();
  std::vector<std::thread> others;
  for (int i = 0; i < threads; ++i) {
    const auto registered = std::make_shared<std::promise<void>>();
    others.emplace_back([&registry, registered, ended] {
      const RegisteredThread self(registry, ThreadRole::kWorker, "blocking");
      registered->set_value();
      ended.wait();
    });
    registered->get_future().wait();
  }
  Time("registry_snapshot", absl::StrCat("`ThreadRegistry`: a snapshot of ", threads, " threads"), "us", 10,
       [&] {
         for (int i = 0; i < 10; ++i) {
           if (registry.Snapshot().threads.size() != static_cast<size_t>(threads)) std::abort();
         }
       });
  end.set_value();
  for (std::thread& other : others) other.join();

  constexpr int kJobs = 100'000;
  RegisteredThread self(registry, ThreadRole::kWorker, "compute");
  const CurrentJob job = {"01kabcdefghijklmnopqrstuvw", "Job-1", false, absl::FromUnixSeconds(1'800'000'000)};
  Time("registry_begin_end", "`RegisteredThread`: begin and end of a job", "ns", kJobs, [&] {
    for (int i = 0; i < kJobs; ++i) {
      self.BeginJob(job);
      self.EndJob(true);
    }
  });
}

void BenchCodec() {
  constexpr int kJobs = 100'000;
  v1::SubmitJobRequest request;
  request.mutable_job()->mutable_noop();
  const std::string submit = request.SerializeAsString();
  const absl::Time now = absl::Now();
  Time("codec_submit", "decoding the submission of a no-op", "ns", kJobs, [&] {
    for (int i = 0; i < kJobs; ++i) {
      v1::SubmitJobRequest parsed;
      Violations violations;
      if (!parsed.ParseFromString(submit)) std::abort();
      const JobSpec spec = DecodeSubmission(parsed, "", now, violations);
      if (spec.work.index() != Work(NoopWork{}).index()) std::abort();
    }
  });
  JobRecord record = MakeRecord();
  Attempt attempt;
  attempt.thread_id = 3;
  attempt.thread_display_name = "Thread-1";
  attempt.start_time = record.create_time;
  record.Start(std::move(attempt));
  Outcome outcome;
  outcome.end_time = record.create_time;
  outcome.result = NoopResult{};
  record.End(JobState::kSucceeded, {}, std::move(outcome));
  const LiveJob job(std::move(record));
  const JobSnapshot snapshot = job.Snapshot();
  Time("codec_ended", "encoding a no-op that has ended", "ns", kJobs, [&] {
    for (int i = 0; i < kJobs; ++i) {
      v1::Job encoded;
      EncodeJob(snapshot, JobView::kFull, &encoded);
      if (encoded.SerializeAsString().empty()) std::abort();
    }
  });
}

void BenchMetrics() {
  constexpr int kJobs = 100'000;
  const auto registry = std::make_shared<prometheus::Registry>();
  JobMetrics metrics(*registry,
                     {{"sleep", "primes", "fibonacci", "pi", "hash", "spin", "noop", "command", "custom"},
                      {"blocking", "compute"},
                      {"succeeded", "failed", "cancelled"}});
  RpcMetrics rpcs(*registry);
  std::vector<std::unique_ptr<MethodMetrics>> methods;
  for (int i = 0; i < 30; ++i)
    methods.push_back(rpcs.Method("jobpool.v1.JobService", absl::StrCat("Method", i)));
  Time("metrics_job", "`JobMetrics`: a job from its submission to its end", "ns", kJobs, [&] {
    for (int i = 0; i < kJobs; ++i) {
      metrics.Submitted(6, 1);
      metrics.Started(1, absl::Microseconds(100));
      metrics.Ran(6, absl::Microseconds(10), {});
      metrics.Finished(6, 1, 0, absl::UnixEpoch());
    }
  });
  const Pages pages({registry});
  Time("metrics_page", "the page of metrics of jobs and of 30 methods", "us", 10, [&] {
    for (int i = 0; i < 10; ++i) {
      if (pages.Show("GET", "/metrics").body.empty()) std::abort();
    }
  });
}

}  // namespace
}  // namespace jobpool::bench

int main(int argc, char** argv) {
  using namespace jobpool::bench;
  if (argc > 1) rounds = std::atoi(argv[1]);
  BenchQueue();
  BenchRegistry(argc > 2 ? std::atoi(argv[2]) : 1000);
  BenchCodec();
  BenchMetrics();
  return 0;
}
