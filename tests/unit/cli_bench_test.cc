// `bench` from its arguments to its figures; the command against a server in this
// process that answers as it is told.

#include <algorithm>
#include <atomic>
#include <cmath>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <signal.h>
#include <string>
#include <vector>

#include <google/protobuf/struct.pb.h>
#include <google/protobuf/util/json_util.h>
#include <google/rpc/error_details.pb.h>
#include <google/rpc/status.pb.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/cli/bench_args.h"
#include "client/cli/bench_report.h"
#include "client/cli/job_target.h"
#include "jobpool/v1/job_service.grpc.pb.h"
#include "tests/support/fake_server.h"
#include "tests/support/run_cli.h"

namespace jobpool::cli {
namespace {

void ExpectRefused(const BenchArgs& args, absl::string_view message) {
  const auto plan = ToLoadPlan(args);
  ASSERT_FALSE(plan.ok()) << message;
  EXPECT_EQ(plan.status(), absl::InvalidArgumentError(message));
}

TEST(BenchArgsTest, Defaults) {
  const auto plan = ToLoadPlan(BenchArgs());
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_FALSE(plan->rate.has_value());
  EXPECT_EQ(plan->in_flight, 64u);
  EXPECT_EQ(plan->duration, absl::Seconds(10));
  EXPECT_EQ(plan->warmup, absl::ZeroDuration());
  EXPECT_EQ(plan->drain_timeout, absl::Seconds(10));
}

TEST(BenchArgsTest, ACountAloneHasNoEndInTime) {
  BenchArgs args;
  args.count = 5;
  EXPECT_EQ(ToLoadPlan(args)->duration, absl::InfiniteDuration());
  EXPECT_EQ(ToLoadPlan(args)->count, 5);
  args.duration = "2s";
  EXPECT_EQ(ToLoadPlan(args)->duration, absl::Seconds(2));
}

TEST(BenchArgsTest, AnOpenLoop) {
  BenchArgs args;
  args.rate = 0.5;
  EXPECT_EQ(ToLoadPlan(args)->rate, 0.5);
  EXPECT_EQ(ToLoadPlan(args)->in_flight, 10'000u);
  args.max_in_flight = 7;
  EXPECT_EQ(ToLoadPlan(args)->in_flight, 7u);
}

TEST(BenchArgsTest, WhatIsOutOfBounds) {
  BenchArgs args;
  for (const double rate : {0.0, -1.0, 1e6 + 1, std::nan("")}) {
    args.rate = rate;
    EXPECT_FALSE(ToLoadPlan(args).ok()) << rate;
  }
  args = BenchArgs();
  args.rate = 2'000'000;
  ExpectRefused(args, "--rate: must be more than 0 and at most 1000000, got 2e+06");
  args.rate = 1;
  args.max_in_flight = 0;
  ExpectRefused(args, "--max-in-flight: must be 1 to 100000, got 0");
  args = BenchArgs();
  args.concurrency = 100'001;
  ExpectRefused(args, "--concurrency: must be 1 to 100000, got 100001");
  args.concurrency = 10'001;
  ExpectRefused(
      args,
      "--concurrency: the server takes 10000 calls at a time from a connection; for 10001 give more "
      "--connections");
  args.connections = 2;
  EXPECT_TRUE(ToLoadPlan(args).ok());
  args.concurrency = 1;
  ExpectRefused(args, "--connections: must not be more than --concurrency, 1");
  args = BenchArgs();
  args.connections = 0;
  ExpectRefused(args, "--connections: must be 1 to 100, got 0");
  args = BenchArgs();
  args.count = 0;
  ExpectRefused(args, "--count: must be 1 to 1000000000, got 0");
  args = BenchArgs();
  args.duration = "0";
  ExpectRefused(args, "--duration: must be more than 0 and at most 24h, got 0");
  args = BenchArgs();
  args.warmup = "-1s";
  ExpectRefused(args, "--warmup: must be 0 to 24h, got -1s");
  args = BenchArgs();
  args.drain_timeout = "25h";
  EXPECT_FALSE(ToLoadPlan(args).ok());
}

TEST(BenchArgsTest, APayloadOfASize) {
  BenchArgs args;
  args.work.kind = "noop";
  args.payload_size = 1000;
  EXPECT_EQ(ToBenchRequest(args, absl::Now())->job().noop().payload().size(), 1000u);
  args.payload_size = (1 << 20) + 1;
  EXPECT_FALSE(ToBenchRequest(args, absl::Now()).ok());
  args.payload_size = 1;
  args.work.kind = "sleep";
  args.work.argument = "1s";
  EXPECT_FALSE(ToBenchRequest(args, absl::Now()).ok());
}

TEST(CallEndTest, WhatAnAnswerSays) {
  v1::Job job;
  job.set_state(v1::Job::SUCCEEDED);
  EXPECT_FALSE(ToCallEnd(job, /*submit=*/false).failure.has_value());
  job.set_state(v1::Job::QUEUED);
  EXPECT_FALSE(ToCallEnd(job, /*submit=*/true).failure.has_value());

  job.set_state(v1::Job::FAILED);
  google::rpc::ErrorInfo info;
  info.set_reason("COMMAND_FAILED");
  job.mutable_error()->add_details()->PackFrom(info);
  const CallEnd failed = ToCallEnd(job, /*submit=*/false);
  ASSERT_TRUE(failed.failure.has_value());
  EXPECT_TRUE(failed.failure->of_job);
  EXPECT_EQ(failed.failure->code, "FAILED");
  EXPECT_EQ(failed.failure->reason, "COMMAND_FAILED");

  absl::Status status = absl::UnavailableError("x");
  EXPECT_EQ(ToCallEnd(status, false).lost, status) << "gRPC's own";
  info.set_reason("SHUTTING_DOWN");
  status.SetPayload("type.googleapis.com/google.rpc.ErrorInfo", absl::Cord(info.SerializeAsString()));
  EXPECT_TRUE(ToCallEnd(status, false).lost.ok());
  EXPECT_EQ(ToCallEnd(status, false).failure->reason, "SHUTTING_DOWN");
  info.set_reason("OF_ANOTHER_SERVER");
  status.SetPayload("type.googleapis.com/google.rpc.ErrorInfo", absl::Cord(info.SerializeAsString()));
  EXPECT_EQ(ToCallEnd(status, false).failure->reason, "");
}

/// 40 calls at 20/s, of which two were refused and one is not done.
LoadFigures SomeFigures() {
  LoadFigures figures;
  figures.scheduled = 40;
  figures.started = 39;
  figures.late = 3;
  figures.max_delay = absl::Milliseconds(2);
  figures.succeeded = 36;
  figures.failed = 2;
  CallFailure refused;
  refused.code = "RESOURCE_EXHAUSTED";
  refused.reason = "QUEUE_FULL";
  figures.failures[refused] = 2;
  figures.unfinished = 1;
  figures.elapsed = absl::Seconds(2);
  for (int i = 0; i < 36; ++i) {
    figures.latency.Record(absl::Milliseconds(20));
    figures.service_time.Record(absl::Milliseconds(10));
  }
  return figures;
}

BenchSetup SomeSetup() {
  BenchSetup setup;
  setup.work = "sleep 10ms";
  setup.method = "RunJob";
  setup.plan.rate = 20;
  setup.plan.in_flight = 100;
  return setup;
}

TEST(BenchReportTest, ForPeople) {
  EXPECT_EQ(BenchText(SomeSetup(), SomeFigures()),
            R"(work        sleep 10ms, by RunJob
loop        open: 20/s, at most 100 in flight, 1 connection
elapsed     2.000s
started     39 of 40, 3 late (2.0ms at most), 1 missed
succeeded   36, 18.0/s
failed      2
  call      RESOURCE_EXHAUSTED QUEUE_FULL: 2
unfinished  1

              MIN     MEAN    P50     P90     P99     P99.9   MAX
latency       20.0ms  20.0ms  20.0ms  20.0ms  20.0ms  20.0ms  20.0ms
service time  10.0ms  10.0ms  10.0ms  10.0ms  10.0ms  10.0ms  10.0ms

Without 1 call that had no answer in time, and 1 never sent: those would be the longest.
Latency counts from when a call was due, service time from when it was sent.
)");
}

TEST(BenchReportTest, AClosedLoopSaysWhatItDoesNotShow) {
  BenchSetup setup = SomeSetup();
  setup.plan.rate.reset();
  LoadFigures figures = SomeFigures();
  figures.scheduled = figures.started;
  figures.interrupted = true;
  const std::string text = BenchText(setup, figures);
  EXPECT_TRUE(absl::StrContains(text, "closed: 100 in flight")) << text;
  EXPECT_TRUE(absl::StrContains(text, "2.000s, interrupted")) << text;
  EXPECT_TRUE(absl::StrContains(text, "Closed loop: a stall holds up")) << text;
  EXPECT_FALSE(absl::StrContains(text, "service time")) << text;
}

TEST(BenchReportTest, ForPrograms) {
  EXPECT_EQ(BenchJson(SomeSetup(), SomeFigures()), R"({
 "work": "sleep 10ms",
 "method": "RunJob",
 "loop": "open",
 "rate_per_second": 20,
 "max_in_flight": 100,
 "connections": 1,
 "warmup_seconds": 0,
 "elapsed_seconds": 2,
 "interrupted": false,
 "server_lost": false,
 "scheduled": 40,
 "started": 39,
 "started_late": 3,
 "max_start_delay_seconds": 0.002,
 "missed": 1,
 "succeeded": 36,
 "failed": 2,
 "failures": [{"of": "call", "code": "RESOURCE_EXHAUSTED", "reason": "QUEUE_FULL", "count": 2}],
 "unfinished": 1,
 "succeeded_per_second": 18,
 "latency_seconds": {"min": 0.02, "mean": 0.02, "p50": 0.02, "p90": 0.02, "p99": 0.02, "p99_9": 0.02, "max": 0.02},
 "service_time_seconds": {"min": 0.01, "mean": 0.01, "p50": 0.01, "p90": 0.01, "p99": 0.01, "p99_9": 0.01, "max": 0.01}
}
)");
}

TEST(BenchReportTest, NothingMeasuredIsJsonToo) {
  BenchSetup setup;
  setup.work = "command a \"\\\n";
  google::protobuf::Struct parsed;
  ASSERT_TRUE(google::protobuf::util::JsonStringToMessage(BenchJson(setup, LoadFigures()), &parsed).ok());
  EXPECT_EQ(parsed.fields().at("work").string_value(), setup.work);
  EXPECT_TRUE(parsed.fields().at("latency_seconds").has_null_value());
  EXPECT_TRUE(parsed.fields().at("rate_per_second").has_null_value());
}

TEST(BenchReportTest, TheLineWhileItRuns) {
  LoadProgress progress{.elapsed = absl::Seconds(3), .ended = 600, .failed = 2, .in_flight = 64};
  EXPECT_EQ(BenchProgressLine(progress, 200.4, 80), "3.0s  600 answers  200/s  2 failed  64 in flight");
  EXPECT_EQ(BenchProgressLine(progress, 200.4, 11), "3.0s  600…");
}

grpc::Status Refusal(grpc::StatusCode code, const std::string& reason) {
  google::rpc::ErrorInfo info;
  info.set_reason(reason);
  google::rpc::Status status;
  status.add_details()->PackFrom(info);
  return grpc::Status(code, "refused", status.SerializeAsString());
}

/// Jobs end at once, as `answer` says by their number.
class FakeJobs : public v1::JobService::Service {
 public:
  grpc::Status SubmitJob(grpc::ServerContext* context, const v1::SubmitJobRequest* request,
                         v1::Job* job) override {
    if (!request->validate_only()) return Answer(context, request->job(), job);
    const std::lock_guard lock(mu);
    peers.push_back(context->peer());
    return check;
  }

  grpc::Status RunJob(grpc::ServerContext* context, const v1::RunJobRequest* request, v1::Job* job) override {
    return Answer(context, request->job(), job);
  }

  // Constant while calls are made.
  grpc::Status check;
  std::function<grpc::Status(int number)> answer = [](int) { return grpc::Status::OK; };
  bool waits = false;  // each call waits for its cancellation; the third interrupts the client

  std::atomic<int> calls{0};
  std::mutex mu;
  std::vector<std::string> peers;  // guarded by mu; of those that validate only

 private:
  grpc::Status Answer(grpc::ServerContext* context, const v1::Job& wanted, v1::Job* job) {
    const int number = calls++;
    if (waits && number == 2) raise(SIGINT);
    while (waits && !context->IsCancelled()) absl::SleepFor(absl::Milliseconds(1));
    *job = wanted;
    job->set_state(v1::Job::SUCCEEDED);
    return answer(number);
  }
};

class BenchTest : public testing::Test {
 protected:
  CliRun Run(const std::vector<std::string>& arguments) { return RunCli(server_.address(), arguments); }

  FakeJobs jobs_;
  FakeServer server_{&jobs_};
};

TEST_F(BenchTest, AStartedCallEndsWithItsDeadlineOrWhenItIsCancelled) {
  jobs_.waits = true;
  const auto client = Client::Create(server_.address());
  ASSERT_TRUE(client.ok()) << client.status();
  const v1::RunJobRequest run;
  const v1::SubmitJobRequest submit;
  // Shared with who sets them, which may still be at it when they have been read.
  const auto late = std::make_shared<std::promise<absl::Status>>();
  const auto cancelled = std::make_shared<std::promise<absl::Status>>();
  const auto first =
      (*client)->StartRunJob(run, {.deadline = absl::Now() + absl::Milliseconds(50)},
                             [late](const absl::StatusOr<v1::Job>& job) { late->set_value(job.status()); });
  const auto second = (*client)->StartSubmitJob(
      submit, CallOptions(),
      [cancelled](const absl::StatusOr<v1::Job>& job) { cancelled->set_value(job.status()); });
  EXPECT_EQ(late->get_future().get().code(), absl::StatusCode::kDeadlineExceeded);
  second->Cancel();
  EXPECT_EQ(cancelled->get_future().get().code(), absl::StatusCode::kCancelled);
}

TEST_F(BenchTest, ACountOfCalls) {
  const CliRun run = Run({"bench", "--count", "50", "--concurrency", "4"});
  EXPECT_EQ(run.status, ExitStatus::kDone) << run.err;
  EXPECT_EQ(jobs_.calls, 50);
  EXPECT_TRUE(absl::StartsWith(run.out, "work        noop, by RunJob\n")) << run.out;
  EXPECT_TRUE(absl::StrContains(run.out, "succeeded   50, ")) << run.out;
}

TEST_F(BenchTest, EachConnectionIsOneOfItsOwn) {
  EXPECT_EQ(Run({"bench", "--count", "1", "--connections", "3"}).status, ExitStatus::kDone);
  std::sort(jobs_.peers.begin(), jobs_.peers.end());
  EXPECT_EQ(jobs_.peers.size(), 3u);
  EXPECT_EQ(std::unique(jobs_.peers.begin(), jobs_.peers.end()), jobs_.peers.end());
}

TEST_F(BenchTest, RefusalsAreCountedAndNoError) {
  jobs_.check = Refusal(grpc::StatusCode::RESOURCE_EXHAUSTED, "QUEUE_FULL");  // full already
  jobs_.answer = [](int number) {
    return number % 2 == 0 ? grpc::Status::OK : Refusal(grpc::StatusCode::RESOURCE_EXHAUSTED, "QUEUE_FULL");
  };
  const CliRun run = Run({"bench", "--count", "20", "--concurrency", "2", "--submit", "-o", "json"});
  EXPECT_EQ(run.status, ExitStatus::kDone) << run.err;
  EXPECT_EQ(run.err, "");
  EXPECT_TRUE(absl::StrContains(run.out, "\"method\": \"SubmitJob\"")) << run.out;
  EXPECT_TRUE(absl::StrContains(run.out, "\"succeeded\": 10,")) << run.out;
  EXPECT_TRUE(absl::StrContains(
      run.out,
      R"("failures": [{"of": "call", "code": "RESOURCE_EXHAUSTED", "reason": "QUEUE_FULL", "count": 10}])"))
      << run.out;
}

TEST_F(BenchTest, NoSuccessIsStatus1) {
  jobs_.answer = [](int) { return Refusal(grpc::StatusCode::INTERNAL, ""); };
  const CliRun run = Run({"bench", "--count", "3"});
  EXPECT_EQ(run.status, ExitStatus::kJobFailed);
  EXPECT_EQ(run.err, "error: no call succeeded\n");
  EXPECT_TRUE(absl::StrContains(run.out, "INTERNAL: 3\n")) << run.out;
}

TEST_F(BenchTest, WorkThatIsRefusedIsNotBegun) {
  jobs_.check = Refusal(grpc::StatusCode::NOT_FOUND, "POOL_NOT_FOUND");
  EXPECT_EQ(Run({"bench", "--pool", "x"}).status, ExitStatus::kNotFound);
  EXPECT_EQ(Run({"bench", "sleep", "x"}).status, ExitStatus::kUsage);
  EXPECT_EQ(Run({"bench", "--rate", "0"}).status, ExitStatus::kUsage);
  EXPECT_EQ(jobs_.calls, 0);
}

TEST_F(BenchTest, AnInterruptCancelsTheCallsAndPrintsTheFigures) {
  jobs_.waits = true;
  const CliRun run = Run({"bench", "--concurrency", "3", "--duration", "1h"});
  EXPECT_EQ(run.status, ExitStatus::kInterrupted);
  EXPECT_TRUE(absl::StrContains(run.out, ", interrupted\n")) << run.out;
  EXPECT_TRUE(absl::StrContains(run.out, "unfinished  3\n")) << run.out;
  EXPECT_EQ(jobs_.calls, 3);
}

TEST_F(BenchTest, AServerThatGoesEndsIt) {
  jobs_.answer = [](int number) {
    return number < 10 ? grpc::Status::OK : grpc::Status(grpc::StatusCode::UNAVAILABLE, "Socket closed");
  };
  const CliRun run = Run({"bench", "--concurrency", "1", "--duration", "1h"});
  EXPECT_EQ(run.status, ExitStatus::kRefused);
  EXPECT_TRUE(absl::StrContains(run.out, "succeeded   10, ")) << run.out;
  EXPECT_TRUE(absl::StartsWith(run.err, absl::StrCat("error: cannot reach ", server_.address()))) << run.err;
}

TEST_F(BenchTest, AServerThatIsNotThere) {
  server_.Stop();
  const CliRun run = Run({"bench"});
  EXPECT_EQ(run.status, ExitStatus::kRefused);
  EXPECT_EQ(run.out, "");
}

}  // namespace
}  // namespace jobpool::cli
