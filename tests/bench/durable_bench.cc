// Jobs that are kept on disk, through the whole server, against what the disk gives to others in the same
// run:
//
//   through their whole life (BatchSubmitJobs of 1,000 no-ops, then WaitJobs for all) against rows that
//   SQLite alone inserts and updates, in transactions of 1,000; one by one by RunJob, 64 in flight; and
//   SubmitJob, 64 in flight, against beanstalkd with an fsync for each put, 64 connections.
//
//   durable_bench JOBPOOLD BEANSTALKD DIR [SECONDS_PER_ROUND [ROUNDS]]
//
// BEANSTALKD: "" for none. DIR: where the files go, on the disk that is meant.

#include <algorithm>
#include <arpa/inet.h>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <memory>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>
#include <vector>

#include <grpcpp/client_context.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>

#include "jobpool/v1/job_service.grpc.pb.h"
#include "tests/bench/child.h"
#include "tests/bench/closed_loop.h"
#include "tests/bench/sqlite_alone.h"

namespace jobpool::bench {
namespace {

constexpr int kBatch = 1000;
constexpr int kBatchesInFlight = 4;
constexpr int kInFlight = 64;

class Folder {
 public:
  explicit Folder(const std::string& path) : path_(path) {
    std::filesystem::remove_all(path_);
    std::filesystem::create_directories(path_);
  }
  ~Folder() { std::filesystem::remove_all(path_); }
  const std::string& path() const { return path_; }

 private:
  const std::string path_;
};

double SecondsOf(const std::function<void()>& work) {
  const auto begin = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

/// A batch through its whole life.
struct LifeCall {
  grpc::ClientContext submit_context;
  grpc::ClientContext wait_context;
  v1::BatchSubmitJobsRequest batch;
  v1::BatchSubmitJobsResponse submitted;
  v1::WaitJobsRequest wait;
  v1::WaitJobsResponse waited;
};

StartCall LifeCalls(v1::JobService::Stub& stub) {
  return [&stub](std::function<void(bool)> done) {
    const auto call = std::make_shared<LifeCall>();
    for (int i = 0; i < kBatch; ++i) call->batch.add_requests()->mutable_job()->mutable_noop();
    stub.async()->BatchSubmitJobs(&call->submit_context, &call->batch, &call->submitted,
                                  [&stub, call, done = std::move(done)](const grpc::Status& submitted) {
                                    if (!submitted.ok()) return done(false);
                                    for (const v1::Job& job : call->submitted.jobs())
                                      call->wait.add_names(job.name());
                                    stub.async()->WaitJobs(&call->wait_context, &call->wait, &call->waited,
                                                           [call, done](const grpc::Status& waited) {
                                                             done(waited.ok() && !call->waited.timed_out());
                                                           });
                                  });
  };
}

template <typename Request>
struct JobCall {
  grpc::ClientContext context;
  Request request;
  v1::Job response;
};

StartCall SubmitCalls(v1::JobService::Stub& stub) {
  return [&stub](std::function<void(bool)> done) {
    const auto call = std::make_shared<JobCall<v1::SubmitJobRequest>>();
    call->request.mutable_job()->mutable_noop();
    stub.async()->SubmitJob(
        &call->context, &call->request, &call->response,
        [call, done = std::move(done)](const grpc::Status& status) { done(status.ok()); });
  };
}

StartCall RunCalls(v1::JobService::Stub& stub) {
  return [&stub](std::function<void(bool)> done) {
    const auto call = std::make_shared<JobCall<v1::RunJobRequest>>();
    call->request.mutable_job()->mutable_noop();
    stub.async()->RunJob(&call->context, &call->request, &call->response,
                         [call, done = std::move(done)](const grpc::Status& status) {
                           done(status.ok() && call->response.state() == v1::Job::SUCCEEDED);
                         });
  };
}

/// One producer of beanstalkd. Ends the program if it is refused.
class Producer {
 public:
  explicit Producer(int port) : socket_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connected_ = connect(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0;
    const int on = 1;
    setsockopt(socket_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  }
  ~Producer() { close(socket_); }
  Producer(const Producer&) = delete;
  Producer& operator=(const Producer&) = delete;

  bool connected() const { return connected_; }

  void Put() {
    static constexpr char kPut[] = "put 4 0 60 4\r\nnoop\r\n";
    char answer[64];
    ssize_t size = 0;
    if (write(socket_, kPut, sizeof(kPut) - 1) == sizeof(kPut) - 1)
      size = read(socket_, answer, sizeof(answer));
    if (size < 8 || std::string(answer, 8) != "INSERTED") {
      std::fprintf(stderr, "beanstalkd has refused a job\n");
      std::_Exit(1);
    }
  }

 private:
  const int socket_;
  bool connected_ = false;
};

double PutsPerSecond(int port, double seconds) {
  std::vector<std::thread> threads;
  std::vector<int64_t> counts(kInFlight);
  const double took = SecondsOf([&] {
    const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
    for (size_t i = 0; i < kInFlight; ++i) {
      threads.emplace_back([&, i] {
        Producer producer(port);
        for (; std::chrono::steady_clock::now() < end; ++counts[i]) producer.Put();
      });
    }
    for (std::thread& thread : threads) thread.join();
  });
  int64_t all = 0;
  for (const int64_t count : counts) all += count;
  return static_cast<double>(all) / took;
}

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

void Print(const char* what, const std::vector<double>& values) {
  std::printf("%-66s %9.2f (%.2f to %.2f)\n", what, Median(values),
              *std::min_element(values.begin(), values.end()),
              *std::max_element(values.begin(), values.end()));
}

// One that nobody listens on now.
int FreePort() {
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  if (bind(listener, reinterpret_cast<sockaddr*>(&address), size) != 0 ||
      getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    std::perror("a free port");
    std::exit(1);
  }
  close(listener);
  return ntohs(address.sin_port);
}

class Beanstalkd {
 public:
  Beanstalkd(const std::string& program, const std::string& dir)
      : port_(FreePort()),
        child_({program, "-V", "-l", "127.0.0.1", "-p", std::to_string(port_), "-b", dir, "-f", "0"}, 1,
               "bind ") {
    while (!Producer(port_).connected()) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  int port() const { return port_; }

 private:
  const int port_;
  const Child child_;
};

void Run(const std::string& jobpoold, const std::string& beanstalkd, const std::string& dir, double seconds,
         int rounds) {
  const Folder state(dir + "/durable_bench.jobpool");
  const Folder rows(dir + "/durable_bench.sqlite");
  const Folder binlog(dir + "/durable_bench.beanstalkd");
  const Child server(
      {jobpoold, "--state_dir=" + state.path(), "--grpc_listen=127.0.0.1:0", "--http_listen=127.0.0.1:0"}, 2,
      "serving grpc=");
  const auto stub =
      v1::JobService::NewStub(grpc::CreateChannel(server.address(), grpc::InsecureChannelCredentials()));
  std::unique_ptr<Beanstalkd> other;
  if (!beanstalkd.empty()) other = std::make_unique<Beanstalkd>(beanstalkd, binlog.path());
  std::vector<double> alone, lives, life_ratio, runs, run_ratio, submits, puts, put_ratio;
  for (int round = 0; round <= rounds; ++round) {
    const double life = kBatch * RunClosedLoop(LifeCalls(*stub), kBatchesInFlight, seconds).per_second;
    const int count = std::max(kBatch, static_cast<int>(life * seconds) / kBatch * kBatch);
    const double row =
        count / SecondsOf([&] { InsertAndUpdate(rows.path() + "/" + std::to_string(round), count); });
    const double run = RunClosedLoop(RunCalls(*stub), kInFlight, seconds).per_second;
    const double submit = RunClosedLoop(SubmitCalls(*stub), kInFlight, seconds).per_second;
    const double put = other != nullptr ? PutsPerSecond(other->port(), seconds) : 0;
    if (round == 0) continue;  // warm-up
    alone.push_back(row);
    lives.push_back(life);
    life_ratio.push_back(life / row);
    runs.push_back(run);
    run_ratio.push_back(run / row);
    submits.push_back(submit);
    puts.push_back(put);
    put_ratio.push_back(submit / put);
  }
  Print("SQLite alone, rows inserted and updated, a second", alone);
  Print("jobs through their whole life, in batches of 1,000, a second", lives);
  Print("  ratio", life_ratio);
  Print("RunJob, 64 in flight, a second", runs);
  Print("  ratio to SQLite alone", run_ratio);
  Print("SubmitJob, 64 in flight, a second", submits);
  if (other == nullptr) return;
  Print("beanstalkd with an fsync for each put, 64 connections, a second", puts);
  Print("  ratio", put_ratio);
}

}  // namespace
}  // namespace jobpool::bench

int main(int argc, char** argv) {
  if (argc < 4) {
    std::fprintf(stderr, "usage: durable_bench JOBPOOLD BEANSTALKD DIR [SECONDS_PER_ROUND [ROUNDS]]\n");
    return 2;
  }
  jobpool::bench::Run(argv[1], argv[2], argv[3], argc > 4 ? std::atof(argv[4]) : 2,
                      argc > 5 ? std::atoi(argv[5]) : 5);
  return 0;
}
