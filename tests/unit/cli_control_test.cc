// The commands of control, against a server in this process that answers as it is told.

#include <deque>
#include <gmock/gmock.h>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include <google/protobuf/util/json_util.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "jobpool/v1/job_service.grpc.pb.h"
#include "jobpool/v1/pool_service.grpc.pb.h"
#include "tests/support/fake_server.h"
#include "tests/support/run_cli.h"

namespace jobpool::cli {
namespace {

using testing::ElementsAre;

class FakeJobs : public v1::JobService::Service {
 public:
  grpc::Status RetryJob(grpc::ServerContext*, const v1::RetryJobRequest* request, v1::Job* job) override {
    const std::lock_guard lock(mu);
    retried = *request;
    job->set_name("jobs/new");
    job->set_retry_of(request->name());
    return refusal;
  }

  grpc::Status ExplainJob(grpc::ServerContext*, const v1::ExplainJobRequest* request,
                          v1::ExplainJobResponse* response) override {
    response->set_name(request->name());
    response->set_state(v1::Job::QUEUED);
    response->set_wait(v1::ExplainJobResponse::PAUSE);
    response->set_place(2);
    const std::lock_guard lock(mu);
    return refusal;
  }

  grpc::Status UpdateJob(grpc::ServerContext*, const v1::UpdateJobRequest* request, v1::Job* job) override {
    const std::lock_guard lock(mu);
    updated = *request;
    *job = request->job();
    return refusal;
  }

  std::mutex mu;
  // Guarded by mu while the server runs a call.
  v1::RetryJobRequest retried;
  v1::UpdateJobRequest updated;
  grpc::Status refusal;
};

/// A pool that is as the test says, look by look; the last look stays.
class FakePools : public v1::PoolService::Service {
 public:
  grpc::Status GetPool(grpc::ServerContext*, const v1::GetPoolRequest* request, v1::Pool* pool) override {
    const std::lock_guard lock(mu);
    return Answer("get", request->name(), pool);
  }
  grpc::Status PausePool(grpc::ServerContext*, const v1::PausePoolRequest* request, v1::Pool* pool) override {
    const std::lock_guard lock(mu);
    return Answer("pause", request->name(), pool);
  }
  grpc::Status ResumePool(grpc::ServerContext*, const v1::ResumePoolRequest* request,
                          v1::Pool* pool) override {
    const std::lock_guard lock(mu);
    return Answer("resume", request->name(), pool);
  }
  grpc::Status DrainPool(grpc::ServerContext*, const v1::DrainPoolRequest* request, v1::Pool* pool) override {
    const std::lock_guard lock(mu);
    return Answer("drain", request->name(), pool);
  }
  grpc::Status UpdatePool(grpc::ServerContext*, const v1::UpdatePoolRequest* request,
                          v1::Pool* pool) override {
    const std::lock_guard lock(mu);
    updated = *request;
    return Answer("update", request->pool().name(), pool);
  }

  /// What the next look shows: a pool in `state` with so many jobs.
  void Look(v1::Pool::State state, int queued, int scheduled, int running) {
    v1::Pool& pool = looks.emplace_back();
    pool.set_state(state);
    pool.set_queued_jobs(queued);
    pool.set_scheduled_jobs(scheduled);
    pool.set_running_jobs(running);
  }

  std::mutex mu;
  // Guarded by mu while the server runs a call.
  std::deque<v1::Pool> looks;
  std::vector<std::string> calls;
  v1::UpdatePoolRequest updated;
  grpc::Status refusal;  // of GetPool

 private:
  grpc::Status Answer(const std::string& call, const std::string& name, v1::Pool* pool) {
    calls.push_back(absl::StrCat(call, " ", name));
    if (!looks.empty()) *pool = looks.front();
    if (looks.size() > 1) looks.pop_front();
    pool->set_name(name);
    return call == "get" ? refusal : grpc::Status::OK;
  }
};

class ControlTest : public testing::Test {
 protected:
  CliRun Run(const std::vector<std::string>& arguments) { return RunCli(server_.address(), arguments); }

  FakeJobs jobs_;
  FakePools pools_;
  FakeServer server_{&jobs_, &pools_};
};

/// The message that `text` is the JSON of.
template <typename Message>
Message FromJson(const std::string& text) {
  Message message;
  EXPECT_TRUE(google::protobuf::util::JsonStringToMessage(text, &message).ok()) << text;
  return message;
}

TEST_F(ControlTest, RetryPrintsTheNewName) {
  const CliRun run = Run({"jobs", "retry", "old", "--job-id", "new", "--request-id", "id"});
  EXPECT_EQ(run.status, ExitStatus::kDone);
  EXPECT_EQ(run.out, "jobs/new\n");
  EXPECT_EQ(jobs_.retried.name(), "jobs/old");
  EXPECT_EQ(jobs_.retried.job_id(), "new");
  EXPECT_EQ(jobs_.retried.request_id(), "id");
  EXPECT_EQ(Run({"-o", "name", "jobs", "retry", "jobs/old"}).out, "jobs/new\n");
  EXPECT_EQ(FromJson<v1::Job>(Run({"-o", "json", "jobs", "retry", "old"}).out).retry_of(), "jobs/old");
}

TEST_F(ControlTest, ExplainInEachFormat) {
  const CliRun run = Run({"jobs", "explain", "a"});
  EXPECT_EQ(run.status, ExitStatus::kDone);
  EXPECT_EQ(run.out, "name       jobs/a\nstate      QUEUED\nwaits for  PAUSE\nplace      2\n");
  EXPECT_EQ(Run({"-o", "name", "jobs", "explain", "a"}).out, "jobs/a\n");
  EXPECT_EQ(FromJson<v1::ExplainJobResponse>(Run({"-o", "json", "jobs", "explain", "a"}).out).place(), 2);
}

TEST_F(ControlTest, UpdateSendsWhatWasGiven) {
  const CliRun run = Run({"jobs", "update", "a", "--priority", "7", "--now", "--no-deadline", "--etag", "e"});
  EXPECT_EQ(run.status, ExitStatus::kDone) << run.err;
  EXPECT_TRUE(absl::StrContains(run.out, "jobs/a")) << run.out;
  EXPECT_EQ(jobs_.updated.job().name(), "jobs/a");
  EXPECT_EQ(jobs_.updated.job().priority(), 7);
  EXPECT_EQ(jobs_.updated.job().etag(), "e");
  EXPECT_THAT(jobs_.updated.update_mask().paths(), ElementsAre("priority", "schedule_time", "deadline_time"));
  EXPECT_EQ(Run({"-o", "name", "jobs", "update", "a", "--name", "n"}).out, "jobs/a\n");
  EXPECT_EQ(FromJson<v1::Job>(Run({"-o", "json", "jobs", "update", "a", "--name", "n"}).out).display_name(),
            "n");
}

TEST_F(ControlTest, AnUpdateOfNothingDoesNotReachTheServer) {
  const CliRun run = Run({"jobs", "update", "a", "--etag", "e"});
  EXPECT_EQ(run.status, ExitStatus::kUsage);
  EXPECT_EQ(run.err, "error: there is nothing to change\nTry 'jobpool jobs update --help'.\n");
  EXPECT_EQ(jobs_.updated.job().name(), "");
  EXPECT_EQ(Run({"pools", "resize", "a"}).status, ExitStatus::kUsage);
  EXPECT_TRUE(pools_.calls.empty());
}

TEST_F(ControlTest, RefusalsHaveTheirStatus) {
  const std::vector<std::pair<grpc::StatusCode, ExitStatus>> table = {
      {grpc::StatusCode::ABORTED, ExitStatus::kRefused},
      {grpc::StatusCode::FAILED_PRECONDITION, ExitStatus::kRefused},
      {grpc::StatusCode::NOT_FOUND, ExitStatus::kNotFound},
      {grpc::StatusCode::INVALID_ARGUMENT, ExitStatus::kUsage}};
  for (const auto& [code, status] : table) {
    jobs_.refusal = grpc::Status(code, "no");
    for (const std::vector<std::string>& arguments : std::vector<std::vector<std::string>>{
             {"jobs", "retry", "a"}, {"jobs", "explain", "a"}, {"jobs", "update", "a", "--priority", "1"}}) {
      const CliRun run = Run(arguments);
      EXPECT_EQ(run.status, status) << arguments[1];
      EXPECT_EQ(run.out, "");
      EXPECT_EQ(run.err, "error: no\n");
    }
  }
}

TEST_F(ControlTest, PoolsAreCalledByEitherName) {
  pools_.Look(v1::Pool::PAUSED, 0, 0, 0);
  const CliRun run = Run({"pools", "pause", "a"});
  EXPECT_EQ(run.status, ExitStatus::kDone);
  EXPECT_TRUE(absl::StrContains(run.out, "PAUSED")) << run.out;
  EXPECT_EQ(Run({"-o", "name", "pools", "resume", "pools/a"}).out, "pools/a\n");
  EXPECT_EQ(FromJson<v1::Pool>(Run({"-o", "json", "pools", "drain", "a"}).out).name(), "pools/a");
  EXPECT_THAT(pools_.calls, ElementsAre("pause pools/a", "resume pools/a", "drain pools/a"));
}

TEST_F(ControlTest, ResizeSendsWhatWasGiven) {
  EXPECT_EQ(Run({"pools", "resize", "a", "--min", "0", "--max", "4", "--queue", "9", "--starts-per-second",
                 "0.5", "--submits-per-second", "2", "--idle-timeout", "1m", "--stop-grace", "1s"})
                .status,
            ExitStatus::kDone);
  EXPECT_EQ(pools_.updated.pool().name(), "pools/a");
  EXPECT_EQ(pools_.updated.pool().max_threads(), 4);
  EXPECT_EQ(pools_.updated.pool().max_queued_jobs(), 9);
  EXPECT_EQ(pools_.updated.pool().max_starts_per_second(), 0.5);
  EXPECT_EQ(pools_.updated.pool().max_submits_per_second(), 2);
  EXPECT_EQ(pools_.updated.update_mask().paths_size(), 7);
  EXPECT_EQ(Run({"pools", "resize", "a", "--idle-timeout", "soon"}).status, ExitStatus::kUsage);
}

TEST_F(ControlTest, ADrainWaitsForJobsOfEachState) {
  pools_.Look(v1::Pool::DRAINING, 1, 0, 0);
  pools_.Look(v1::Pool::DRAINING, 0, 1, 0);
  pools_.Look(v1::Pool::DRAINING, 0, 0, 1);
  pools_.Look(v1::Pool::DRAINING, 0, 0, 0);
  const CliRun run = Run({"pools", "drain", "a", "--wait"});
  EXPECT_EQ(run.status, ExitStatus::kDone) << run.err;
  EXPECT_THAT(pools_.calls,
              ElementsAre("drain pools/a", "get pools/a", "get pools/a", "get pools/a", "get pools/a"));
}

TEST_F(ControlTest, OneEmptyLookDoesNotEndADrain) {
  pools_.Look(v1::Pool::DRAINING, 1, 0, 0);
  pools_.Look(v1::Pool::DRAINING, 0, 0, 0);  // on its way to a worker
  pools_.Look(v1::Pool::DRAINING, 0, 0, 1);
  pools_.Look(v1::Pool::DRAINING, 0, 0, 0);
  EXPECT_EQ(Run({"pools", "drain", "a", "--wait"}).status, ExitStatus::kDone);
  EXPECT_EQ(pools_.calls.size(), 5);
}

TEST_F(ControlTest, AWaitForADrainRunsOut) {
  pools_.Look(v1::Pool::DRAINING, 1, 2, 3);
  CliRun run = Run({"pools", "drain", "a", "--wait", "--timeout", "0"});
  EXPECT_EQ(run.status, ExitStatus::kTimeout);
  EXPECT_EQ(run.err, "error: the wait ran out; pools/a still has 6 jobs\n");
  EXPECT_TRUE(absl::StrContains(run.out, "DRAINING")) << run.out;
  EXPECT_THAT(pools_.calls, ElementsAre("drain pools/a"));
  run = Run({"-o", "json", "pools", "drain", "a", "--wait", "--timeout", "10ms"});
  EXPECT_EQ(run.status, ExitStatus::kTimeout);
  EXPECT_EQ(FromJson<v1::Pool>(run.out).running_jobs(), 3);
  EXPECT_EQ(Run({"pools", "drain", "a", "--wait", "--timeout", "soon"}).status, ExitStatus::kUsage);
  EXPECT_EQ(Run({"pools", "drain", "a", "--wait", "--timeout=-1s"}).status, ExitStatus::kUsage);
}

TEST_F(ControlTest, ADrainThatIsCalledOff) {
  pools_.Look(v1::Pool::DRAINING, 1, 0, 0);
  pools_.Look(v1::Pool::ACTIVE, 1, 0, 0);
  const CliRun run = Run({"pools", "drain", "a", "--wait"});
  EXPECT_EQ(run.status, ExitStatus::kRefused);
  EXPECT_EQ(run.err, "error: pools/a does not drain any more: it was resumed or paused\n");
}

TEST_F(ControlTest, ADrainWhoseServerGoes) {
  pools_.Look(v1::Pool::DRAINING, 1, 0, 0);
  pools_.refusal = grpc::Status(grpc::StatusCode::UNAVAILABLE, "gone");
  const CliRun run = Run({"pools", "drain", "a", "--wait"});
  EXPECT_EQ(run.status, ExitStatus::kRefused);
  EXPECT_EQ(run.out, "");
  EXPECT_TRUE(absl::StrContains(run.err, "gone")) << run.err;
}

}  // namespace
}  // namespace jobpool::cli
