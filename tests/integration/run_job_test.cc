#include <chrono>
#include <thread>

#include "tests/integration/mini_server.h"

namespace jobpool::testing {
namespace {

using RunJobTest = MiniServer;

TEST_F(RunJobTest, AnswersWithTheEndedJob) {
  grpc::ClientContext context;
  v1::RunJobRequest request;
  *request.mutable_job() = Noop("p\0q");
  request.set_job_id("mine");
  v1::Job job;
  ASSERT_TRUE(jobs_->RunJob(&context, request, &job).ok());
  EXPECT_EQ(job.name(), "jobs/mine");
  EXPECT_EQ(job.state(), v1::Job::SUCCEEDED);
  EXPECT_FALSE(job.alive());
  EXPECT_EQ(job.result().noop().payload(), request.job().noop().payload());
  EXPECT_EQ(job.attempts(0).process_id(), getpid());
  EXPECT_EQ(Get("jobs/mine").SerializeAsString(), job.SerializeAsString());
}

// Starts a RunJob, waits until its job runs, and returns what the caller's end of
// the call does to the job.
class RunJobCallerTest : public RunJobTest {
 protected:
  v1::Job EndCallEarly(bool detach) {
    grpc::ClientContext context;
    v1::RunJobRequest request;
    *request.mutable_job() = Sleep(detach ? 1 : 3600);
    request.set_job_id("left");
    request.set_detach(detach);
    std::thread caller([&] {
      v1::Job job;
      EXPECT_EQ(jobs_->RunJob(&context, request, &job).error_code(), grpc::StatusCode::CANCELLED);
    });
    // The job is there as soon as the call has arrived.
    grpc::Status found;
    do {
      grpc::ClientContext get_context;
      v1::GetJobRequest get;
      get.set_name("jobs/left");
      v1::Job job;
      found = jobs_->GetJob(&get_context, get, &job);
    } while (!found.ok());
    AwaitRunning("jobs/left");
    context.TryCancel();
    caller.join();
    return Wait("jobs/left");
  }
};

TEST_F(RunJobCallerTest, CancelsTheJobWithTheCall) {
  const v1::Job job = EndCallEarly(/*detach=*/false);
  EXPECT_EQ(job.state(), v1::Job::CANCELLED);
  EXPECT_EQ(ReasonOf(job.error()), v1::CALLER_GONE);
  EXPECT_EQ(ReasonOf(job.attempts(0).error()), v1::CALLER_GONE);
}

TEST_F(RunJobCallerTest, LeavesADetachedJobAlone) {
  EXPECT_EQ(EndCallEarly(/*detach=*/true).state(), v1::Job::SUCCEEDED);
}

TEST_F(RunJobTest, CancelsTheJobAtTheCallsDeadline) {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(200));
  v1::RunJobRequest request;
  *request.mutable_job() = Sleep(3600);
  request.set_job_id("late");
  v1::Job job;
  EXPECT_EQ(jobs_->RunJob(&context, request, &job).error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  EXPECT_EQ(ReasonOf(Wait("jobs/late").error()), v1::CALLER_GONE);
}

TEST_F(RunJobTest, ManyAtOnceAllEnd) {
  constexpr int kCalls = 2000;
  struct Call {
    grpc::ClientContext context;
    v1::RunJobRequest request;
    v1::Job job;
  };
  std::vector<Call> calls(kCalls);
  std::atomic<int> succeeded{0};
  std::atomic<int> ended{0};
  for (Call& call : calls) {
    *call.request.mutable_job() = Noop();
    jobs_->async()->RunJob(&call.context, &call.request, &call.job, [&](const grpc::Status& status) {
      succeeded += status.ok() && call.job.state() == v1::Job::SUCCEEDED;
      ++ended;
      ended.notify_one();
    });
  }
  for (int seen = ended; seen < kCalls; seen = ended) ended.wait(seen);
  EXPECT_EQ(succeeded, kCalls);
}

}  // namespace
}  // namespace jobpool::testing
