#include <set>
#include <string>

#include "tests/integration/mini_server.h"

namespace jobpool::testing {
namespace {

class ListJobsTest : public MiniServer {
 protected:
  v1::ListJobsResponse Page(int size, const std::string& token) {
    grpc::ClientContext context;
    v1::ListJobsRequest request;
    request.set_page_size(size);
    request.set_page_token(token);
    v1::ListJobsResponse response;
    const grpc::Status status = jobs_->ListJobs(&context, request, &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
    EXPECT_LT(response.ByteSizeLong(), 3u << 20);
    return response;
  }

  // The names on all pages, in their order.
  std::vector<std::string> All(int page_size) {
    std::vector<std::string> names;
    std::string token;
    do {
      const v1::ListJobsResponse page = Page(page_size, token);
      for (const v1::Job& job : page.jobs()) names.push_back(job.name());
      token = page.next_page_token();
    } while (!token.empty());
    return names;
  }
};

TEST_F(ListJobsTest, PagesLiveAndEndedJobsNewestFirst) {
  std::vector<std::string> submitted;
  for (int i = 0; i < 25; ++i) {
    submitted.push_back(Submit(i % 3 == 0 ? Sleep(3600) : Noop()).name());
    if (i % 3 != 0) Wait(submitted.back());
  }
  const std::vector<std::string> newest_first(submitted.rbegin(), submitted.rend());
  for (const int page_size : {1, 2, 7, 24, 25, 26, 0, 100'000})
    EXPECT_EQ(All(page_size), newest_first) << page_size;
}

TEST_F(ListJobsTest, LargePagesAreCutNotRefused) {
  v1::Job job = Noop();
  for (int i = 0; i < 32; ++i)
    (*job.mutable_labels())[std::string(60, 'k') + std::to_string(i)] = std::string(63, 'v');
  for (int i = 0; i < 1500; ++i) Submit(job);
  EXPECT_LT(Page(1000, "").jobs_size(), 1000);
  const std::vector<std::string> names = All(1000);
  EXPECT_EQ(names.size(), 1500u);
  EXPECT_EQ(std::set<std::string>(names.begin(), names.end()).size(), 1500u);
}

TEST_F(ListJobsTest, LeavesOutResultsAndPayloads) {
  Wait(Submit(Noop("payload")).name());
  const v1::ListJobsResponse page = Page(10, "");
  ASSERT_EQ(page.jobs_size(), 1);
  EXPECT_FALSE(page.jobs(0).has_result());
  EXPECT_TRUE(page.jobs(0).has_noop());
  EXPECT_EQ(page.jobs(0).noop().payload(), "");
}

TEST_F(ListJobsTest, RefusesTokensOfOtherLists) {
  for (int i = 0; i < 3; ++i) Submit(Noop());
  grpc::ClientContext context;
  v1::ListThreadsRequest threads_request;
  threads_request.set_page_size(1);
  v1::ListThreadsResponse threads;
  ASSERT_TRUE(threads_->ListThreads(&context, threads_request, &threads).ok());
  for (const std::string& token :
       {threads.next_page_token(), std::string("x"), Page(1, "").next_page_token() + "A"}) {
    grpc::ClientContext list_context;
    v1::ListJobsRequest request;
    request.set_page_token(token);
    v1::ListJobsResponse response;
    const grpc::Status status = jobs_->ListJobs(&list_context, request, &response);
    EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT) << token;
    EXPECT_EQ(ReasonOf(Details(status)), v1::INVALID_FIELD);
  }
}

}  // namespace
}  // namespace jobpool::testing
