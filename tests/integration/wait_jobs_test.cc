#include <chrono>
#include <string>
#include <vector>

#include "tests/integration/mini_server.h"

namespace jobpool::testing {
namespace {

class WaitJobsTest : public MiniServer {
 protected:
  grpc::Status WaitFor(const std::vector<std::string>& names, v1::WaitJobsResponse* response,
                       v1::WaitJobsRequest::Mode mode = v1::WaitJobsRequest::ALL, int timeout_seconds = -1,
                       std::chrono::milliseconds deadline = std::chrono::minutes(1)) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + deadline);
    v1::WaitJobsRequest request;
    for (const std::string& name : names) request.add_names(name);
    request.set_mode(mode);
    if (timeout_seconds >= 0) request.mutable_timeout()->set_seconds(timeout_seconds);
    return jobs_->WaitJobs(&context, request, response);
  }
};

TEST_F(WaitJobsTest, AnswersInTheOrderOfTheNames) {
  const std::string slow = Submit(Sleep(1)).name();
  const std::string quick = Submit(Noop()).name();
  v1::WaitJobsResponse response;
  ASSERT_TRUE(WaitFor({slow, quick, slow}, &response).ok());
  ASSERT_EQ(response.jobs_size(), 3);
  EXPECT_EQ(response.jobs(0).name(), slow);
  EXPECT_EQ(response.jobs(1).name(), quick);
  EXPECT_EQ(response.jobs(2).name(), slow);
  for (const v1::Job& job : response.jobs()) EXPECT_EQ(job.state(), v1::Job::SUCCEEDED);
  EXPECT_TRUE(response.has_timed_out());
  EXPECT_FALSE(response.timed_out());
}

TEST_F(WaitJobsTest, AnyAnswersWithAll) {
  const std::string slow = Submit(Sleep(3600)).name();
  const std::string quick = Submit(Noop()).name();
  v1::WaitJobsResponse response;
  ASSERT_TRUE(WaitFor({slow, quick}, &response, v1::WaitJobsRequest::ANY).ok());
  ASSERT_EQ(response.jobs_size(), 2);
  EXPECT_FALSE(response.timed_out());
  EXPECT_NE(response.jobs(0).state(), v1::Job::SUCCEEDED);
  EXPECT_EQ(response.jobs(1).state(), v1::Job::SUCCEEDED);
}

TEST_F(WaitJobsTest, ZeroTimeoutLooks) {
  const std::string slow = Submit(Sleep(3600)).name();
  v1::WaitJobsResponse response;
  ASSERT_TRUE(WaitFor({slow}, &response, v1::WaitJobsRequest::ALL, 0).ok());
  EXPECT_TRUE(response.timed_out());
}

TEST_F(WaitJobsTest, WithoutTimeoutEndsBeforeTheCallsDeadline) {
  const std::string slow = Submit(Sleep(3600)).name();
  v1::WaitJobsResponse response;
  const grpc::Status status =
      WaitFor({slow}, &response, v1::WaitJobsRequest::ALL, -1, std::chrono::seconds(1));
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_TRUE(response.timed_out());
}

TEST_F(WaitJobsTest, OneUnknownNameIsNotFound) {
  const std::string known = Submit(Noop()).name();
  v1::WaitJobsResponse response;
  const grpc::Status status = WaitFor({known, "jobs/nobody"}, &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(ReasonOf(Details(status)), v1::JOB_NOT_FOUND);
}

TEST_F(WaitJobsTest, LargeAnswersLeaveOutResults) {
  std::vector<std::string> names;
  for (int i = 0; i < 4; ++i) names.push_back(Submit(Noop(std::string(1 << 20, 'x'))).name());
  v1::WaitJobsResponse response;
  ASSERT_TRUE(WaitFor(names, &response).ok());
  ASSERT_EQ(response.jobs_size(), 4);
  EXPECT_LT(response.ByteSizeLong(), 3u << 20);
  EXPECT_FALSE(response.jobs(0).has_result());
  EXPECT_EQ(response.jobs(0).display_name(), "Job-1");
  EXPECT_EQ(Get(names[3]).result().noop().payload().size(), 1u << 20);
}

TEST_F(WaitJobsTest, VeryManyLargeJobsStillFit) {
  v1::Job job = Noop();
  for (int i = 0; i < 32; ++i) (*job.mutable_labels())["label" + std::to_string(i)] = std::string(63, 'v');
  std::vector<std::string> names;
  for (int i = 0; i < 2000; ++i) names.push_back(Submit(job).name());
  v1::WaitJobsResponse response;
  ASSERT_TRUE(WaitFor(names, &response).ok());
  ASSERT_EQ(response.jobs_size(), 2000);
  EXPECT_LT(response.ByteSizeLong(), 3u << 20);
  for (const v1::Job& waited : response.jobs()) ASSERT_EQ(waited.state(), v1::Job::SUCCEEDED);
}

TEST_F(WaitJobsTest, TheCallersEndEndsTheWait) {
  const std::string slow = Submit(Sleep(3600)).name();
  v1::WaitJobsRequest request;
  request.add_names(slow);
  for (int i = 0; i < 100; ++i) {
    grpc::ClientContext context;
    v1::WaitJobsResponse response;
    std::atomic<bool> done{false};
    jobs_->async()->WaitJobs(&context, &request, &response, [&](const grpc::Status& status) {
      EXPECT_EQ(status.error_code(), grpc::StatusCode::CANCELLED);
      done = true;
      done.notify_one();
    });
    context.TryCancel();
    done.wait(false);
  }
  EXPECT_TRUE(Cancel(slow).ok());
  EXPECT_EQ(Wait(slow).state(), v1::Job::CANCELLED);
}

}  // namespace
}  // namespace jobpool::testing
