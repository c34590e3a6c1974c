#include "google/rpc/error_details.pb.h"
#include "tests/integration/mini_server.h"

namespace jobpool::testing {
namespace {

ConfigFile SmallQueue() {
  ConfigFile config = ConfigFile::Default();
  for (PoolOptions& pool : config.pools) {
    pool.min_threads = 0;
    pool.max_threads = 1;
    pool.max_queued_jobs = 3;
  }
  return config;
}

class LimitsTest : public MiniServer {
 protected:
  LimitsTest() : MiniServer(SmallQueue()) {}
};

TEST_F(LimitsTest, AFullQueueRefusesAndSaysWhenToRetry) {
  AwaitRunning(Submit(Sleep(3600)).name());
  const std::string first = Submit(Sleep(3600)).name();
  for (int i = 0; i < 2; ++i) Submit(Sleep(3600));

  grpc::ClientContext context;
  v1::SubmitJobRequest request;
  *request.mutable_job() = Sleep(1);
  request.set_job_id("refused");
  v1::Job job;
  const grpc::Status status = jobs_->SubmitJob(&context, request, &job);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  const google::rpc::Status details = Details(status);
  EXPECT_EQ(ReasonOf(details), v1::QUEUE_FULL);
  google::rpc::RetryInfo retry;
  google::rpc::QuotaFailure quota;
  bool has_retry = false;
  bool has_quota = false;
  for (const auto& detail : details.details()) {
    has_retry |= detail.UnpackTo(&retry);
    has_quota |= detail.UnpackTo(&quota);
  }
  EXPECT_TRUE(has_quota);
  ASSERT_TRUE(has_retry);
  EXPECT_GT(retry.retry_delay().seconds() * 1'000'000'000 + retry.retry_delay().nanos(), 0);

  // The place of a cancelled job is free, and the refused id was not taken.
  ASSERT_TRUE(Cancel(first).ok());
  grpc::ClientContext again;
  EXPECT_TRUE(jobs_->SubmitJob(&again, request, &job).ok());
}

}  // namespace
}  // namespace jobpool::testing
