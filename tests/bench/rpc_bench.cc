// Jobs that are held in memory against the least that the same gRPC can do: the same client code, in turns in
// one run, each server a process of its own on loopback.
//
//   RunJob of a no-op against an empty unary call, 64 in flight and one; beside them a bare call with the
//   same request and the same answer, for which nothing runs: what the messages leave of that ceiling.
//   Batches of 1,000 no-ops, submitted and joined, or on a stream, against batches of as many messages that
//   come back.
//
//   rpc_bench BARE_SERVER JOBPOOLD [SECONDS_PER_ROUND [ROUNDS]]

#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "tests/bench/bare_calls.h"
#include "tests/bench/job_server.h"
#include "tests/bench/report.h"
#include "tests/bench/stream_jobs.h"

namespace jobpool::bench {
namespace {

void Run(const std::string& bare_server, const std::string& jobpoold, double seconds, int rounds) {
  const Child bare_child({bare_server}, 1, "");
  const auto bare_stub = BareService::NewStub(ConnectTo(bare_child.address()));
  const JobServer server(jobpoold, {"--store=memory"});

  // Messages of the size of a no-op's submission.
  v1::SubmitJobRequest noop;
  noop.mutable_job()->mutable_noop();
  const std::string payload = noop.SerializeAsString();
  EchoStreams streams(*bare_stub, kInFlight, payload);

  const StartCall bare = BareCalls(*bare_stub);
  const StartCall run_nothing = RunNothingCalls(*bare_stub, server.RunNoop());
  const StartCall run_job = RunJobCalls(server.jobs());
  const StartCall stream = streams.Calls();
  const StartCall echo = BatchEchoCalls(*bare_stub, kBatch, payload);
  const StartCall submissions = SubmissionEchoCalls(*bare_stub, kBatch);
  const StartCall batch = BatchCalls(server.jobs());
  std::vector<double> bare_rate, run_rate, rate_ratio, bare_time, run_time, time_ratio;
  std::vector<double> messages_ratio, messages_time_ratio;
  std::vector<double> stream_rate, echo_rate, submissions_rate, batch_rate, batch_ratio;
  std::vector<double> stream_jobs_rate, stream_jobs_ratio, stream_jobs_submissions;
  for (int round = 0; round <= rounds; ++round) {
    const double a = RunClosedLoop(bare, kInFlight, seconds).per_second;
    const double b = RunClosedLoop(run_job, kInFlight, seconds).per_second;
    const double j = RunClosedLoop(run_nothing, kInFlight, seconds).per_second;
    const double c = RunClosedLoop(bare, 1, seconds).median_seconds;
    const double d = RunClosedLoop(run_job, 1, seconds).median_seconds;
    const double k = RunClosedLoop(run_nothing, 1, seconds).median_seconds;
    const double e = RunClosedLoop(stream, kInFlight, seconds).per_second;
    const double f = kBatch * RunClosedLoop(echo, kBatchesInFlight, seconds).per_second;
    const double g = kBatch * RunClosedLoop(submissions, kBatchesInFlight, seconds).per_second;
    const double h = kBatch * RunClosedLoop(batch, kBatchesInFlight, seconds).per_second;
    const double i = StreamJobsPerSecond(server.jobs(), seconds);
    if (round == 0) continue;  // warm-up
    bare_rate.push_back(a);
    run_rate.push_back(b);
    rate_ratio.push_back(b / a);
    bare_time.push_back(1e6 * c);
    run_time.push_back(1e6 * d);
    time_ratio.push_back(d / c);
    messages_ratio.push_back(j / a);
    messages_time_ratio.push_back(k / c);
    stream_rate.push_back(e);
    echo_rate.push_back(f);
    submissions_rate.push_back(g);
    batch_rate.push_back(h);
    batch_ratio.push_back(h / f);
    stream_jobs_rate.push_back(i);
    stream_jobs_ratio.push_back(i / f);
    stream_jobs_submissions.push_back(i / g);
  }
  Report({"bare_rate", "empty unary calls, 64 in flight", "", "/s"}, bare_rate);
  Report({"run_job_per_second", "`RunJob` of no-ops, 64 in flight", "", "/s"}, run_rate);
  Report(
      {"run_job_rate", "`RunJob` of no-ops, 64 in flight", "empty unary calls", "ratio", MustBeAtLeast(0.85)},
      rate_ratio);
  Report({"run_nothing_rate", "a bare call with the request and the answer of such a `RunJob`, 64 in flight",
          "empty unary calls", "ratio"},
         messages_ratio);
  Report({"bare_time", "an empty unary call, one in flight", "", "us"}, bare_time);
  Report({"run_job_microseconds", "`RunJob` of a no-op, one in flight", "", "us"}, run_time);
  Report({"run_job_time", "`RunJob` of a no-op, one in flight, median time", "an empty unary call", "ratio",
          AtMost(1.20)},
         time_ratio);
  Report({"run_nothing_time", "a bare call with the request and the answer of such a `RunJob`, median time",
          "an empty unary call", "ratio"},
         messages_time_ratio);
  Report({"stream_echo", "messages echoed on 64 streams, one on its way on each", "", "/s"}, stream_rate);
  Report({"batch_echo", "messages of a no-op's size echoed in unary batches of 1,000, 4 in flight", "", "/s"},
         echo_rate);
  Report(
      {"submissions_echo", "submissions of no-ops echoed in unary batches of 1,000, 4 in flight", "", "/s"},
      submissions_rate);
  Report(
      {"batch_jobs_per_second", "no-ops by `BatchSubmitJobs` of 1,000 and `WaitJobs`, 4 in flight", "", "/s"},
      batch_rate);
  Report({"batch_jobs", "no-ops by `BatchSubmitJobs` of 1,000 and `WaitJobs`, in memory",
          "unary batches of 1,000 echoed by a bare server", "ratio"},
         batch_ratio);
  Report({"stream_jobs_per_second", "no-ops by `StreamJobs`, in memory", "", "/s"}, stream_jobs_rate);
  Report({"stream_jobs", "`StreamJobs` of no-ops to their results, in memory",
          "unary batches of 1,000 echoed by a bare server", "ratio", AtLeast(0.60)},
         stream_jobs_ratio);
  Report({"stream_jobs_submissions", "`StreamJobs` of no-ops to their results, in memory",
          "submissions of no-ops echoed in unary batches of 1,000", "ratio"},
         stream_jobs_submissions);
}

}  // namespace
}  // namespace jobpool::bench

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "usage: rpc_bench BARE_SERVER JOBPOOLD [SECONDS_PER_ROUND [ROUNDS]]\n");
    return 2;
  }
  jobpool::bench::Run(argv[1], argv[2], argc > 3 ? std::atof(argv[3]) : 1, argc > 4 ? std::atoi(argv[4]) : 7);
  return 0;
}
