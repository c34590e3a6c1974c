// What a jobpoold does under its load, from outside: joined sleeps, cancellation, looking in while it works,
// more work than it can do.
//
//   server_bench JOBPOOLD DIR [SECONDS_PER_ROUND [ROUNDS [join|cancel|threads|metrics|overload]]]
//
// DIR: where config files go.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <string>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>
#include <utility>
#include <vector>

#include <google/rpc/error_details.pb.h>
#include <google/rpc/status.pb.h>
#include <grpcpp/client_context.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>

#include "absl/strings/str_cat.h"
#include "jobpool/v1/thread_service.grpc.pb.h"
#include "tests/bench/folder.h"
#include "tests/bench/job_server.h"
#include "tests/bench/report.h"

namespace jobpool::bench {
namespace {

struct Options {
  std::string jobpoold;
  std::string dir;
  double seconds;  // of a round
  int rounds;
};

void Check(const grpc::Status& status) {
  if (status.ok()) return;
  std::fprintf(stderr, "a call failed: %s\n", status.error_message().c_str());
  std::_Exit(1);
}

void SleepFor(double seconds) { std::this_thread::sleep_for(std::chrono::duration<double>(seconds)); }

v1::Job SleepJob(double seconds) {
  v1::Job job;
  auto* const duration = job.mutable_sleep()->mutable_duration();
  duration->set_seconds(static_cast<int64_t>(seconds));
  duration->set_nanos(static_cast<int32_t>(1e9 * (seconds - static_cast<double>(duration->seconds()))));
  return job;
}

/// A server with a config file, held in memory.
class ConfiguredServer {
 public:
  ConfiguredServer(const Options& options, const std::string& config)
      : folder_(options.dir + "/server_bench." + std::to_string(getpid())) {
    const std::string path = folder_.path() + "/config.textproto";
    std::ofstream(path) << config;
    server_ = std::make_unique<JobServer>(options.jobpoold,
                                          std::vector<std::string>{"--store=memory", "--config=" + path});
  }
  const JobServer* operator->() const { return server_.get(); }

 private:
  const Folder folder_;
  std::unique_ptr<JobServer> server_;
};

v1::Job Submit(v1::JobService::Stub& jobs, v1::Job job) {
  grpc::ClientContext context;
  v1::SubmitJobRequest request;
  *request.mutable_job() = std::move(job);
  v1::Job submitted;
  Check(jobs.SubmitJob(&context, request, &submitted));
  return submitted;
}

void BenchJoin(const Options& options) {
  const JobServer server(options.jobpoold, {"--store=memory"});
  std::vector<double> times;
  for (int round = 0; round < options.rounds; ++round) {
    const Stopwatch watch;
    v1::WaitJobsRequest request;
    for (const int seconds : {1, 2, 3}) request.add_names(Submit(server.jobs(), SleepJob(seconds)).name());
    grpc::ClientContext context;
    v1::WaitJobsResponse response;
    Check(server.jobs().WaitJobs(&context, request, &response));
    times.push_back(watch.Seconds());
  }
  Report({"join", "three joined sleeps of 1, 2 and 3 s through gRPC", "", "s", AtMost(3.003)}, times);
}

/// From the call of CancelJob to the answer of the RunJob that waits for the job, in milliseconds; nothing if
/// it had ended before.
std::vector<double> CancelOne(v1::JobService::Stub& jobs, const v1::Job& job, const std::string& id,
                              double run_for) {
  v1::RunJobRequest run;
  *run.mutable_job() = job;
  run.set_job_id(id);
  grpc::ClientContext run_context;
  v1::Job ended;
  const auto answered = std::make_shared<std::promise<double>>();
  const Stopwatch watch;
  jobs.async()->RunJob(&run_context, &run, &ended, [&watch, answered](const grpc::Status& status) {
    Check(status);
    answered->set_value(watch.Seconds());
  });
  for (v1::Job now; now.state() != v1::Job::RUNNING && !now.has_end_time();) {
    grpc::ClientContext context;
    v1::GetJobRequest get;
    get.set_name("jobs/" + id);
    const grpc::Status status = jobs.GetJob(&context, get, &now);
    if (status.error_code() != grpc::StatusCode::NOT_FOUND) Check(status);  // RunJob may be on its way
  }
  SleepFor(run_for);
  grpc::ClientContext context;
  v1::CancelJobRequest cancel;
  cancel.set_name("jobs/" + id);
  v1::Job asked;
  const double began = watch.Seconds();
  jobs.CancelJob(&context, cancel, &asked);  // refused where it has ended
  const double ended_at = answered->get_future().get();
  if (ended.state() != v1::Job::CANCELLED) return {};
  return {1e3 * (ended_at - began)};
}

void BenchCancel(const Options& options) {
  const JobServer server(options.jobpoold, {"--store=memory"});
  std::vector<v1::Job> works(6);
  works[0] = SleepJob(3600);
  works[1].mutable_compute()->mutable_primes()->set_limit(1'000'000'000'000);
  works[2].mutable_compute()->mutable_pi()->set_digits(200'000);
  works[3].mutable_compute()->mutable_hash()->set_bytes(int64_t{1} << 40);
  works[4].mutable_compute()->mutable_spin()->mutable_cpu_time()->set_seconds(3600);
  works[5].mutable_compute()->mutable_fibonacci()->set_index(1'000'000);
  // All workers but one are at work on something else.
  for (unsigned i = 1; i < std::max(1U, std::thread::hardware_concurrency()); ++i)
    Submit(server.jobs(), works[4]);
  std::vector<double> p99s;
  size_t caught = 0;
  int number = 0;
  for (int round = 0; round < options.rounds; ++round) {
    std::vector<double> times;
    const Stopwatch watch;
    while (watch.Seconds() < 2 * options.seconds || times.empty()) {
      for (const v1::Job& work : works) {
        const std::string id = absl::StrCat("c", ++number);
        // Where in its work it is met differs.
        for (const double time : CancelOne(server.jobs(), work, id, number % 7 * 1e-3)) times.push_back(time);
      }
    }
    caught += times.size();
    p99s.push_back(Percentile(times, 99));
  }
  Report(
      {"cancel", "cancel to end of a running built-in job, p99 of " + std::to_string(caught) + " of 6 kinds",
       "", "ms", AtMost(50)},
      p99s);
}

/// What looking in costs, and what it costs the jobs: `look` alone, then under the load of no-ops, and those
/// while it is done ten times a second against those while it is not, in turns.
void BenchLooking(const Options& options, const JobServer& server, const std::string& name,
                  const std::string& what, double most_ms, const std::function<void()>& look) {
  std::vector<double> idle, loaded, slowdown;
  const auto timed_look = [&look] {
    const Stopwatch watch;
    look();
    return 1e3 * watch.Seconds();
  };
  for (int i = 0; i < 10 * options.rounds; ++i) idle.push_back(timed_look());
  const StartCall run_job = RunJobCalls(server.jobs());
  const auto rate = [&] { return RunClosedLoop(run_job, kInFlight, options.seconds).per_second; };
  for (int round = 0; round <= 2 * options.rounds; ++round) {
    double alone = 0;
    double watched = 0;
    for (const bool watch : {round % 2 == 0, round % 2 != 0}) {  // so that neither is always the first
      if (!watch) {
        alone = rate();
        continue;
      }
      std::atomic<bool> stop{false};
      std::vector<double> times;
      std::thread looking([&] {
        auto next = std::chrono::steady_clock::now();
        while (!stop.load()) {
          times.push_back(timed_look());
          next += std::chrono::milliseconds(100);
          std::this_thread::sleep_until(next);
        }
      });
      watched = rate();
      stop = true;
      looking.join();
      if (round > 0) loaded.insert(loaded.end(), times.begin(), times.end());
    }
    if (round > 0) slowdown.push_back(watched / alone);  // before, it warms up
  }
  const bool under_load = name == "metrics";
  Report({name + "_idle", what + ", nothing else to do", "", "ms", under_load ? Target{} : AtMost(most_ms)},
         idle);
  Report({name + "_loaded", what + ", under full load", "", "ms", under_load ? AtMost(most_ms) : Target{}},
         loaded);
  Report({name + "_slowdown", "`RunJob` of no-ops while " + what + " is asked for 10 times a second",
          "without that", "ratio", AtLeast(0.95)},
         slowdown);
}

void BenchThreads(const Options& options) {
  constexpr int kThreads = 1000;
  const ConfiguredServer server(options, "pools { name: 'blocking' max_threads: 1000 }");
  for (int i = 0; i < kThreads; ++i) Submit(server->jobs(), SleepJob(3600));
  const auto threads = v1::ThreadService::NewStub(server->channel());
  const auto list = [&threads] {
    grpc::ClientContext context;
    v1::ListThreadsRequest request;
    request.set_page_size(10'000);
    v1::ListThreadsResponse response;
    Check(threads->ListThreads(&context, request, &response));
    return response.threads_size();
  };
  while (list() < kThreads) SleepFor(0.01);
  BenchLooking(options, *server.operator->(), "list_threads", "`ListThreads` with 1,000 threads", 5, list);
}

void GetMetrics(int port) {
  const int connection = ConnectToLoopback(port);
  static constexpr char kRequest[] = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
  std::string answer;
  if (send(connection, kRequest, sizeof(kRequest) - 1, MSG_NOSIGNAL) == sizeof(kRequest) - 1) {
    char buffer[65536];
    for (ssize_t size = 0; (size = read(connection, buffer, sizeof(buffer))) > 0;)
      answer.append(buffer, static_cast<size_t>(size));
  }
  close(connection);
  if (answer.find("jobpool_jobs_finished_total") != std::string::npos) return;
  std::fprintf(stderr, "no metrics: %s\n", answer.c_str());
  std::_Exit(1);
}

void BenchMetrics(const Options& options) {
  const JobServer server(options.jobpoold, {"--store=memory"});
  BenchLooking(options, server, "metrics", "`/metrics`", 10, [&] { GetMetrics(server.http_port()); });
}

double ResidentBytes(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/statm");
  double total = 0;
  double resident = 0;
  file >> total >> resident;
  return resident * static_cast<double>(sysconf(_SC_PAGESIZE));
}

/// Callers that each ask for one job after the other, on a connection of their own, and, when refused, come
/// again as they were told.
class Callers {
 public:
  Callers(const std::string& address, int count) {
    for (int i = 0; i < count; ++i) {
      grpc::ChannelArguments own;
      own.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
      channels_.push_back(grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), own));
      if (!channels_.back()->WaitForConnected(std::chrono::system_clock::now() + std::chrono::seconds(60)))
        std::_Exit(1);
    }
  }
  ~Callers() { Stop(); }
  Callers(const Callers&) = delete;
  Callers& operator=(const Callers&) = delete;

  /// So many of them begin; `job`: what they want.
  void Start(int callers, const v1::Job& job) {
    for (int i = 0; i < callers; ++i) {
      threads_.emplace_back([this, channel = channels_[threads_.size()], job] { Call(channel, job); });
    }
  }
  void Stop() {
    {
      const std::lock_guard<std::mutex> lock(mu_);
      stop_ = true;
    }
    stopped_.notify_all();
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
  }
  double JobsPerSecond(double seconds) const {
    const int64_t before = done_.load();
    const Stopwatch watch;
    SleepFor(seconds);
    return static_cast<double>(done_.load() - before) / watch.Seconds();
  }

 private:
  void Call(const std::shared_ptr<grpc::Channel>& channel, const v1::Job& job) {
    const auto stub = v1::JobService::NewStub(channel);
    v1::RunJobRequest request;
    *request.mutable_job() = job;
    for (std::unique_lock<std::mutex> lock(mu_); !stop_;) {
      lock.unlock();
      grpc::ClientContext context;
      v1::Job ended;
      const grpc::Status status = stub->RunJob(&context, request, &ended);
      if (status.ok()) done_.fetch_add(1);
      lock.lock();
      if (!status.ok()) stopped_.wait_for(lock, RetryDelay(status), [this] { return stop_; });
    }
  }

  static std::chrono::nanoseconds RetryDelay(const grpc::Status& status) {
    google::rpc::Status details;
    details.ParseFromString(status.error_details());
    for (const auto& detail : details.details()) {
      google::rpc::RetryInfo retry;
      if (detail.UnpackTo(&retry)) {
        return std::chrono::seconds(retry.retry_delay().seconds()) +
               std::chrono::nanoseconds(retry.retry_delay().nanos());
      }
    }
    Check(status);
    return {};
  }

  std::vector<std::shared_ptr<grpc::Channel>> channels_;
  std::atomic<int64_t> done_{0};
  std::mutex mu_;
  std::condition_variable stopped_;
  bool stop_ = false;  // guarded by mu_
  std::vector<std::thread> threads_;
};

/// Calls begun at a steady rate, whatever becomes of them, each by somebody new.
class OpenLoop {
 public:
  explicit OpenLoop(v1::JobService::Stub& jobs, v1::Job job) : jobs_(jobs) {
    *request_.mutable_job() = std::move(job);
  }

  /// Jobs done a second, while `per_second` were asked for.
  double JobsPerSecond(double per_second, double seconds) {
    const int64_t before = done_.load();
    const Stopwatch watch;
    int64_t begun = 0;
    for (double now = 0; now < seconds; now = watch.Seconds()) {
      for (; static_cast<double>(begun) < now * per_second; ++begun) Begin();
      SleepFor(1e-3);
    }
    const double rate = static_cast<double>(done_.load() - before) / watch.Seconds();
    while (open_.load() > 0) SleepFor(1e-3);
    return rate;
  }

 private:
  struct Call {
    grpc::ClientContext context;
    v1::Job ended;
  };
  void Begin() {
    auto* const call = new Call;
    open_.fetch_add(1);
    jobs_.async()->RunJob(&call->context, &request_, &call->ended, [this, call](const grpc::Status& status) {
      delete call;
      if (status.error_code() != grpc::StatusCode::RESOURCE_EXHAUSTED) Check(status);
      if (status.ok()) done_.fetch_add(1);
      open_.fetch_sub(1);
    });
  }

  v1::JobService::Stub& jobs_;
  v1::RunJobRequest request_;
  std::atomic<int64_t> done_{0};
  std::atomic<int64_t> open_{0};
};

void BenchOverload(const Options& options) {
  constexpr int kThreads = 4;
  constexpr int kQueue = 20;
  const ConfiguredServer server(options,
                                "pools { name: 'narrow' min_threads: 4 max_threads: 4 max_queued_jobs: 20 }");
  v1::Job job = SleepJob(0.01);
  job.set_pool("pools/narrow");
  const double seconds = 2 * options.seconds;

  OpenLoop open(server->jobs(), job);
  std::vector<double> capacities, goodputs, memory, open_goodputs;
  for (int round = 0; round < options.rounds; ++round) {
    Callers callers(server->address(), 10 * (kThreads + kQueue));
    callers.Start(kThreads + kQueue, job);
    callers.JobsPerSecond(options.seconds);  // they find their pace
    const double capacity = callers.JobsPerSecond(seconds);
    const double before = ResidentBytes(server->pid());
    callers.Start(9 * (kThreads + kQueue), job);
    callers.JobsPerSecond(options.seconds);
    capacities.push_back(capacity);
    goodputs.push_back(callers.JobsPerSecond(seconds) / capacity);
    memory.push_back(ResidentBytes(server->pid()) / before);
    callers.Stop();
    open_goodputs.push_back(open.JobsPerSecond(10 * capacity, seconds) / capacity);
  }
  Report({"capacity", "sleeps of 10 ms that a pool of 4 threads does for as many callers as have room", "",
          "/s"},
         capacities);
  Report({"goodput", "goodput with 10 times the callers, who come again as they are told", "at capacity",
          "ratio", AtLeast(0.95)},
         goodputs);
  Report({"goodput_memory", "memory of the server then", "at capacity", "ratio"}, memory);
  Report({"goodput_open", "goodput at 10 times the rate, by callers of whom none comes again", "at capacity",
          "ratio", AtLeast(0.95)},
         open_goodputs);
}

}  // namespace
}  // namespace jobpool::bench

int main(int argc, char** argv) {
  using namespace jobpool::bench;
  if (argc < 3) {
    std::fprintf(stderr, "usage: server_bench JOBPOOLD DIR [SECONDS_PER_ROUND [ROUNDS [PART]]]\n");
    return 2;
  }
  const Options options = {argv[1], argv[2], argc > 3 ? std::atof(argv[3]) : 1,
                           argc > 4 ? std::atoi(argv[4]) : 5};
  const std::string only = argc > 5 ? argv[5] : "";
  const std::pair<const char*, void (*)(const Options&)> parts[] = {{"join", BenchJoin},
                                                                    {"cancel", BenchCancel},
                                                                    {"threads", BenchThreads},
                                                                    {"metrics", BenchMetrics},
                                                                    {"overload", BenchOverload}};
  for (const auto& [name, bench] : parts) {
    if (only.empty() || only == name) bench(options);
  }
  return 0;
}
