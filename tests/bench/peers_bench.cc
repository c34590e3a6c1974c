// What others do with no-ops, in turns with RunJob, for context:
//
//   Gearman in the foreground, by 64 clients with one job each, and by one with a window of 1,000; a Python
//   gRPC server over a ThreadPoolExecutor, called by the same client as jobpoold.
//
//   peers_bench JOBPOOLD GEARMAND PYTHON PYTHON_SERVER [SECONDS_PER_ROUND [ROUNDS]]
//
// GEARMAND, PYTHON: "" for none.

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "tests/bench/bare_calls.h"
#include "tests/bench/gearman.h"
#include "tests/bench/job_server.h"
#include "tests/bench/report.h"
#include "tests/bench/stream_jobs.h"

namespace jobpool::bench {
namespace {

void Run(const std::string& jobpoold, const std::string& gearmand, const std::string& python,
         const std::string& python_server, double seconds, int rounds) {
  const JobServer server(jobpoold, {"--store=memory"});
  const StartCall run_job = RunJobCalls(server.jobs());
  std::unique_ptr<Gearman> gearman;
  if (!gearmand.empty()) {
    gearman = std::make_unique<Gearman>(gearmand,
                                        static_cast<int>(std::max(1U, std::thread::hardware_concurrency())));
  }
  std::unique_ptr<Child> python_child;
  std::unique_ptr<BareService::Stub> python_stub;
  if (!python.empty()) {
    python_child = std::make_unique<Child>(std::vector<std::string>{python, python_server}, 1, "");
    python_stub = BareService::NewStub(ConnectTo(python_child->address()));
  }
  std::vector<double> foreground, windows, foreground_ratio, windows_ratio, calls, calls_ratio;
  for (int round = 0; round <= rounds; ++round) {
    const double ours = RunClosedLoop(run_job, kInFlight, seconds).per_second;
    const double by_64 = gearman != nullptr ? gearman->JobsPerSecond(kInFlight, 1, seconds) : 0;
    const double by_1 = gearman != nullptr ? gearman->JobsPerSecond(1, 1000, seconds) : 0;
    const double theirs =
        python_stub != nullptr ? RunClosedLoop(BareCalls(*python_stub), kInFlight, seconds).per_second : 0;
    const double streamed = StreamJobsPerSecond(server.jobs(), seconds);
    if (round == 0) continue;  // warm-up
    foreground.push_back(by_64);
    windows.push_back(by_1);
    foreground_ratio.push_back(ours / by_64);
    windows_ratio.push_back(streamed / by_1);
    calls.push_back(theirs);
    calls_ratio.push_back(ours / theirs);
  }
  if (gearman != nullptr) {
    Report({"gearman_per_second", "Gearman in the foreground, 64 clients", "", "/s"}, foreground);
    Report({"gearman_windows_per_second", "Gearman in the foreground, one client with a window of 1,000", "",
            "/s"},
           windows);
    Report({"gearman", "`RunJob` of no-ops, 64 in flight", "Gearman in the foreground, 64 clients", "ratio"},
           foreground_ratio);
    Report({"gearman_stream", "`StreamJobs` of no-ops to their results",
            "Gearman in the foreground, one client with a window of 1,000", "ratio"},
           windows_ratio);
  }
  if (python_stub != nullptr) {
    Report({"python_per_second",
            "empty calls of a Python gRPC server over a ThreadPoolExecutor, 64 in flight", "", "/s"},
           calls);
    Report({"python", "`RunJob` of no-ops, 64 in flight", "empty calls of a Python gRPC server", "ratio"},
           calls_ratio);
  }
}

}  // namespace
}  // namespace jobpool::bench

int main(int argc, char** argv) {
  if (argc < 5) {
    std::fprintf(stderr,
                 "usage: peers_bench JOBPOOLD GEARMAND PYTHON PYTHON_SERVER [SECONDS_PER_ROUND [ROUNDS]]\n");
    return 2;
  }
  jobpool::bench::Run(argv[1], argv[2], argv[3], argv[4], argc > 5 ? std::atof(argv[5]) : 1,
                      argc > 6 ? std::atoi(argv[6]) : 5);
  return 0;
}
