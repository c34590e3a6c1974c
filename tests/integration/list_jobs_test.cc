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

TEST_F(ListJobsTest, ListsByFilterAndOrder) {
  for (int i = 0; i < 20; ++i) {
    v1::Job job = i % 4 == 0 ? Sleep(3600) : Noop();
    job.set_priority(i % 3);
    if (i % 5 == 0) (*job.mutable_labels())["team"] = "a";
    const std::string name = Submit(job).name();
    if (i % 4 != 0) Wait(name);
  }
  const auto all = [&](const std::string& filter, const std::string& order_by, int page_size) {
    std::vector<v1::Job> listed;
    v1::ListJobsRequest request;
    request.set_filter(filter);
    request.set_order_by(order_by);
    request.set_page_size(page_size);
    do {
      grpc::ClientContext context;
      v1::ListJobsResponse response;
      const grpc::Status status = jobs_->ListJobs(&context, request, &response);
      EXPECT_TRUE(status.ok()) << status.error_message();
      listed.insert(listed.end(), response.jobs().begin(), response.jobs().end());
      request.set_page_token(response.next_page_token());
    } while (!request.page_token().empty());
    return listed;
  };
  for (const int page_size : {1, 3, 50}) {
    EXPECT_EQ(all("labels.team = a", "", page_size).size(), 4u);
    EXPECT_EQ(all("kind = sleep OR labels:team", "", page_size).size(), 8u);
    EXPECT_EQ(all("state = SUCCEEDED AND end_time:*", "", page_size).size(), 15u);
    const std::vector<v1::Job> by_priority = all("", "priority desc, create_time", page_size);
    ASSERT_EQ(by_priority.size(), 20u);
    for (size_t i = 1; i < by_priority.size(); ++i) {
      const v1::Job& a = by_priority[i - 1];
      const v1::Job& b = by_priority[i];
      EXPECT_TRUE(a.priority() > b.priority() || (a.priority() == b.priority() && a.name() < b.name()));
    }
    EXPECT_EQ(all("", "end_time", page_size).size(), 15u);
  }
}

TEST_F(ListJobsTest, SaysWhatIsWrongWithAFilterAndAnOrder) {
  grpc::ClientContext context;
  v1::ListJobsRequest request;
  request.set_filter("state = ACTIVE");
  request.set_order_by("colour");
  v1::ListJobsResponse response;
  const grpc::Status status = jobs_->ListJobs(&context, request, &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(ReasonOf(Details(status)), v1::INVALID_FIELD);
  EXPECT_NE(status.error_message().find("filter"), std::string::npos) << status.error_message();
  EXPECT_NE(status.error_message().find("at character 9: there is no state \"ACTIVE\""), std::string::npos)
      << status.error_message();
}

TEST_F(ListJobsTest, ATokenIsForItsFilterAndOrder) {
  for (int i = 0; i < 3; ++i) Submit(Sleep(3600));
  v1::ListJobsRequest request;
  request.set_page_size(1);
  request.set_filter("daemon = false");
  request.set_order_by("priority");
  v1::ListJobsResponse response;
  grpc::ClientContext first_context;
  ASSERT_TRUE(jobs_->ListJobs(&first_context, request, &response).ok());
  ASSERT_FALSE(response.next_page_token().empty());
  request.set_page_token(response.next_page_token());
  const auto code_of = [&](const v1::ListJobsRequest& changed) {
    grpc::ClientContext context;
    v1::ListJobsResponse ignored;
    return jobs_->ListJobs(&context, changed, &ignored).error_code();
  };
  EXPECT_EQ(code_of(request), grpc::StatusCode::OK);
  v1::ListJobsRequest larger = request;
  larger.set_page_size(2);
  EXPECT_EQ(code_of(larger), grpc::StatusCode::OK);
  v1::ListJobsRequest other_filter = request;
  other_filter.set_filter("");
  EXPECT_EQ(code_of(other_filter), grpc::StatusCode::INVALID_ARGUMENT);
  v1::ListJobsRequest other_order = request;
  other_order.set_order_by("priority desc");
  EXPECT_EQ(code_of(other_order), grpc::StatusCode::INVALID_ARGUMENT);
}

}  // namespace
}  // namespace jobpool::testing
