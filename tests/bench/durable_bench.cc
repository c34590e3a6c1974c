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
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <thread>
#include <unistd.h>
#include <vector>

#include "tests/bench/folder.h"
#include "tests/bench/job_server.h"
#include "tests/bench/report.h"
#include "tests/bench/sqlite_alone.h"

namespace jobpool::bench {
namespace {

/// One producer of beanstalkd. Ends the program if it is refused.
class Producer {
 public:
  explicit Producer(int port) : socket_(ConnectToLoopback(port)) {}
  ~Producer() {
    if (connected()) close(socket_);
  }
  Producer(const Producer&) = delete;
  Producer& operator=(const Producer&) = delete;

  bool connected() const { return socket_ >= 0; }

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
};

double PutsPerSecond(int port, double seconds) {
  std::vector<std::thread> threads;
  std::vector<int64_t> counts(kInFlight);
  const Stopwatch watch;
  for (size_t i = 0; i < kInFlight; ++i) {
    threads.emplace_back([&, i] {
      Producer producer(port);
      for (; watch.Seconds() < seconds; ++counts[i]) producer.Put();
    });
  }
  for (std::thread& thread : threads) thread.join();
  const double took = watch.Seconds();
  int64_t all = 0;
  for (const int64_t count : counts) all += count;
  return static_cast<double>(all) / took;
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
  const JobServer server(jobpoold, {"--state_dir=" + state.path()});
  std::unique_ptr<Beanstalkd> other;
  if (!beanstalkd.empty()) other = std::make_unique<Beanstalkd>(beanstalkd, binlog.path());
  std::vector<double> alone, lives, life_ratio, runs, submits, puts, put_ratio;
  for (int round = 0; round <= rounds; ++round) {
    const double life =
        kBatch * RunClosedLoop(BatchCalls(server.jobs()), kBatchesInFlight, seconds).per_second;
    const int count = std::max(kBatch, static_cast<int>(life * seconds) / kBatch * kBatch);
    const Stopwatch watch;
    InsertAndUpdate(rows.path() + "/" + std::to_string(round), count);
    const double row = count / watch.Seconds();
    const double run = RunClosedLoop(RunJobCalls(server.jobs()), kInFlight, seconds).per_second;
    const double submit = RunClosedLoop(SubmitJobCalls(server.jobs()), kInFlight, seconds).per_second;
    const double put = other != nullptr ? PutsPerSecond(other->port(), seconds) : 0;
    if (round == 0) continue;  // warm-up
    alone.push_back(row);
    lives.push_back(life);
    life_ratio.push_back(life / row);
    runs.push_back(run);
    submits.push_back(submit);
    puts.push_back(put);
    put_ratio.push_back(submit / put);
  }
  Report(
      {"sqlite_alone", "rows by SQLite alone, inserted and updated in transactions of 1,000, FULL", "", "/s"},
      alone);
  Report({"durable_life_per_second", "durable no-ops by `BatchSubmitJobs` of 1,000 and `WaitJobs`", "", "/s"},
         lives);
  Report({"durable_life", "durable jobs through their whole life, in batches of 1,000",
          "SQLite alone: insert and update in transactions of 1,000, FULL", "ratio", MustBeAtLeast(0.70)},
         life_ratio);
  Report({"durable_run_job_per_second", "durable `RunJob`, 64 in flight", "", "/s"}, runs);
  Report({"durable_submit_per_second", "durable `SubmitJob`, 64 in flight", "", "/s"}, submits);
  if (other == nullptr) return;
  Report({"beanstalkd_per_second", "puts of beanstalkd with an fsync for each, 64 connections", "", "/s"},
         puts);
  Report({"durable_submit", "durable `SubmitJob`, 64 in flight", "beanstalkd with an fsync for each put",
          "ratio", AtLeast(5)},
         put_ratio);
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
