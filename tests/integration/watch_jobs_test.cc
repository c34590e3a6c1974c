#include <algorithm>
#include <map>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <unistd.h>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "server/service/watch_jobs_call.h"
#include "server/service/watch_token.h"
#include "tests/integration/mini_server.h"
#include "tests/support/eventually.h"

namespace jobpool::testing {
namespace {

/// One call of WatchJobs; cancelled, if it is still open, when it goes.
struct Watch {
  Watch(v1::JobService::Stub& stub, const v1::WatchJobsRequest& request) {
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(60));  // a stuck test ends
    reader = stub.WatchJobs(&context, request);
  }
  ~Watch() { context.TryCancel(); }

  /// The next message; false: there is none any more.
  bool Read() {
    message.Clear();
    if (!reader->Read(&message)) return false;
    if (!message.resume_token().empty()) token = message.resume_token();
    return true;
  }

  /// The next event of any message, as text; `(over)` where there is none.
  std::string Say() {
    while (next == message.events_size()) {
      next = 0;
      if (!Read()) return "(over)";
    }
    const v1::JobEvent& event = message.events(next++);
    return absl::StrCat(v1::JobEvent::Type_Name(event.type()), " ", v1::Job::State_Name(event.job().state()));
  }

  grpc::ClientContext context;
  std::unique_ptr<grpc::ClientReader<v1::WatchJobsResponse>> reader;
  v1::WatchJobsResponse message;
  int next = 0;
  std::string token;
};

v1::WatchJobsRequest Names(const std::vector<std::string>& names, const std::string& token = "") {
  v1::WatchJobsRequest request;
  request.mutable_names()->Assign(names.begin(), names.end());
  request.set_resume_token(token);
  return request;
}

v1::WatchJobsRequest Where(const std::string& filter, bool changes_only = false,
                           const std::string& token = "") {
  v1::WatchJobsRequest request;
  request.set_filter(filter);
  request.set_changes_only(changes_only);
  request.set_resume_token(token);
  return request;
}

class WatchJobsTest : public MiniServer {
 protected:
  explicit WatchJobsTest(ConfigFile file = ConfigFile::Default()) : MiniServer(std::move(file)) {}

  std::vector<std::string> SubmitMany(int count) {
    grpc::ClientContext context;
    v1::BatchSubmitJobsRequest request;
    for (int i = 0; i < count; ++i) *request.add_requests()->mutable_job() = Noop();
    v1::BatchSubmitJobsResponse response;
    const grpc::Status status = jobs_->BatchSubmitJobs(&context, request, &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
    std::vector<std::string> names;
    for (const v1::Job& job : response.jobs()) names.push_back(job.name());
    return names;
  }

  grpc::Status Refused(const v1::WatchJobsRequest& request) {
    Watch watch(*jobs_, request);
    EXPECT_FALSE(watch.Read());
    return watch.reader->Finish();
  }
};

TEST_F(WatchJobsTest, NamesToTheirEnds) {
  const std::string name = Submit(Sleep(3600)).name();
  AwaitRunning(name);
  Watch watch(*jobs_, Names({name, name}));
  EXPECT_EQ(watch.Say(), "INITIAL RUNNING");
  EXPECT_EQ(watch.message.events(0).job().name(), name);
  EXPECT_TRUE(Cancel(name).ok());
  std::string said = watch.Say();
  while (said == "PROGRESS RUNNING") said = watch.Say();
  EXPECT_EQ(said, "ENDED CANCELLED");
  EXPECT_EQ(watch.Say(), "(over)");
  EXPECT_TRUE(watch.reader->Finish().ok());
}

TEST_F(WatchJobsTest, NamesOfEndedJobsEndAtOnce) {
  const std::string name = Submit(Noop("payload")).name();
  Wait(name);
  Watch watch(*jobs_, Names({name}));
  ASSERT_TRUE(watch.Read());
  ASSERT_EQ(watch.message.events_size(), 1);
  EXPECT_EQ(watch.message.events(0).job().result().noop().payload(), "payload");
  EXPECT_FALSE(watch.Read());
  EXPECT_TRUE(watch.reader->Finish().ok());
}

TEST_F(WatchJobsTest, TheFirstMessageComesWithoutEvents) {
  Watch watch(*jobs_, Where("labels.none = \"x\""));
  ASSERT_TRUE(watch.Read());
  EXPECT_EQ(watch.message.events_size(), 0);
  EXPECT_FALSE(watch.message.resume_token().empty());
  EXPECT_FALSE(watch.message.shutting_down());
}

TEST_F(WatchJobsTest, AFilterTellsOfWhatMatchedBefore) {
  const std::string before = Submit(Sleep(3600)).name();
  AwaitRunning(before);
  Watch watch(*jobs_, Where("state = RUNNING"));
  EXPECT_EQ(watch.Say(), "INITIAL RUNNING");
  const std::string name = Submit(Noop()).name();
  std::string said = watch.Say();
  while (said == "PROGRESS RUNNING") said = watch.Say();
  EXPECT_EQ(said, "CHANGED RUNNING");
  said = watch.Say();
  while (said == "PROGRESS RUNNING") said = watch.Say();
  EXPECT_EQ(said, "ENDED SUCCEEDED");
  EXPECT_TRUE(Cancel(before).ok());
}

TEST_F(WatchJobsTest, DeletedJobsAreTold) {
  const std::string name = Submit(Noop()).name();
  Wait(name);
  Watch watch(*jobs_, Where("kind = noop", /*changes_only=*/true));
  ASSERT_TRUE(watch.Read());
  grpc::ClientContext context;
  v1::DeleteJobRequest request;
  request.set_name(name);
  google::protobuf::Empty empty;
  EXPECT_TRUE(jobs_->DeleteJob(&context, request, &empty).ok());
  EXPECT_EQ(watch.Say(), "DELETED SUCCEEDED");
  EXPECT_EQ(watch.message.events(0).job().name(), name);
}

TEST_F(WatchJobsTest, Violations) {
  const auto expect = [&](const v1::WatchJobsRequest& request, const std::string& field) {
    const grpc::Status status = Refused(request);
    EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
    EXPECT_EQ(ReasonOf(Details(status)), v1::INVALID_FIELD);
    EXPECT_NE(status.error_message().find(field), std::string::npos) << status.error_message();
  };
  expect(v1::WatchJobsRequest(), "names");
  v1::WatchJobsRequest both = Names({"jobs/a"});
  both.set_filter("state = RUNNING");
  expect(both, "names");
  expect(Names({"jobs/a", "b"}), "names[1]");
  expect(Names(std::vector<std::string>(10'001, "jobs/a")), "names");
  expect(Where("state ="), "filter");
  v1::WatchJobsRequest changes = Names({"jobs/a"});
  changes.set_changes_only(true);
  expect(changes, "changes_only");
  expect(Names({"jobs/a"}, "x"), "resume_token");
  const grpc::Status unknown = Refused(Names({"jobs/none"}));
  EXPECT_EQ(unknown.error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(ReasonOf(Details(unknown)), v1::JOB_NOT_FOUND);
}

TEST_F(WatchJobsTest, ATokenIsForTheSameWatchOnly) {
  Watch watch(*jobs_, Where("kind = noop"));
  ASSERT_TRUE(watch.Read());
  EXPECT_EQ(Refused(Where("kind = sleep", false, watch.token)).error_code(),
            grpc::StatusCode::INVALID_ARGUMENT);
  Watch resumed(*jobs_, Where("kind = noop", false, watch.token));
  EXPECT_TRUE(resumed.Read());
}

TEST_F(WatchJobsTest, BreaksLeaveNothingOutAndRepeatNothing) {
  constexpr int kJobs = 2'000;
  std::string token;
  {
    Watch watch(*jobs_, Where("kind = noop", /*changes_only=*/true));
    ASSERT_TRUE(watch.Read());
    token = watch.token;
  }
  std::thread submits([&] {
    for (int i = 0; i < 10; ++i) SubmitMany(kJobs / 10);
  });
  std::mt19937 random(1);
  std::map<std::string, std::string> lives;
  int ended = 0;
  int breaks = 0;
  while (ended < kJobs) {
    Watch watch(*jobs_, Where("kind = noop", true, token));
    ++breaks;
    for (auto left = 1 + random() % 5; left > 0 && ended < kJobs; --left) {
      ASSERT_TRUE(watch.Read());
      ASSERT_FALSE(watch.message.resume_token().empty());
      token = watch.token;
      ASSERT_LE(watch.message.events_size(), WatchJobsCall::kMaxEvents);
      for (const v1::JobEvent& event : watch.message.events()) {
        if (event.type() == v1::JobEvent::PROGRESS) continue;
        absl::StrAppend(&lives[event.job().name()], v1::Job::State_Name(event.job().state()), " ");
        if (event.type() == v1::JobEvent::ENDED) ++ended;
      }
    }
  }
  submits.join();
  EXPECT_GT(breaks, 5);
  EXPECT_EQ(lives.size(), kJobs);
  for (const auto& [name, life] : lives) ASSERT_EQ(life, "QUEUED RUNNING SUCCEEDED ") << name;
}

TEST_F(WatchJobsTest, WhoReadsNothingIsCutAndCanGoOn) {
  constexpr int kJobs = 30'000;
  Watch watch(*jobs_, Where("kind = noop", /*changes_only=*/true));
  ASSERT_TRUE(watch.Read());
  for (int i = 0; i < 3; ++i) {
    for (const std::string& name : SubmitMany(kJobs / 3)) {
      if (i == 2) Wait(name);
    }
  }
  std::map<std::string, int> created;
  int ended = 0;
  const auto note = [&](const v1::WatchJobsResponse& message) {
    for (const v1::JobEvent& event : message.events()) {
      if (event.type() == v1::JobEvent::CREATED) ++created[event.job().name()];
      if (event.type() == v1::JobEvent::ENDED) ++ended;
    }
  };
  while (watch.Read()) note(watch.message);
  EXPECT_LT(ended, kJobs);
  const grpc::Status cut = watch.reader->Finish();
  ASSERT_EQ(cut.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED) << cut.error_message();
  EXPECT_EQ(ReasonOf(Details(cut)), v1::WATCH_TOO_SLOW);
  Watch resumed(*jobs_, Where("kind = noop", true, watch.token));
  while (ended < kJobs) {
    ASSERT_TRUE(resumed.Read());
    note(resumed.message);
  }
  EXPECT_EQ(created.size(), kJobs);
  EXPECT_TRUE(std::all_of(created.begin(), created.end(), [](const auto& one) { return one.second == 1; }));
}

TEST_F(WatchJobsTest, MessagesStayBelow3MiB) {
  std::vector<std::string> names;
  const std::string payload(1 << 20, 'x');
  for (int i = 0; i < 5; ++i) names.push_back(Submit(Noop(payload)).name());
  for (const std::string& name : names) Wait(name);
  Watch watch(*jobs_, Names(names));
  std::set<std::string> told;
  while (watch.Read()) {
    EXPECT_LE(watch.message.ByteSizeLong(), (size_t{3} << 20) + 200);
    for (const v1::JobEvent& event : watch.message.events()) {
      EXPECT_EQ(event.job().result().noop().payload().size(), payload.size());
      EXPECT_TRUE(told.insert(event.job().name()).second);
    }
  }
  EXPECT_TRUE(watch.reader->Finish().ok());
  EXPECT_EQ(told.size(), 5);
}

TEST_F(WatchJobsTest, ShutdownIsTheLastMessage) {
  v1::Job job = Sleep(3600);
  job.set_durability(v1::Job::MEMORY);  // on disk it would be left to the next server
  const std::string name = Submit(job).name();
  AwaitRunning(name);
  Watch watch(*jobs_, Where("kind = sleep"));
  EXPECT_EQ(watch.Say(), "INITIAL RUNNING");
  const absl::Time start = absl::Now();
  ShutDown();
  EXPECT_LT(absl::Now() - start, absl::Seconds(1));
  std::string said;
  do {
    said = watch.Say();
  } while (said == "PROGRESS RUNNING");
  EXPECT_EQ(said, "ENDED CANCELLED");
  while (!watch.message.shutting_down()) ASSERT_TRUE(watch.Read());
  EXPECT_FALSE(watch.message.resume_token().empty());
  EXPECT_FALSE(watch.Read());
  const grpc::Status status = watch.reader->Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(ReasonOf(Details(status)), v1::SHUTTING_DOWN);
}

TEST_F(WatchJobsTest, WhoReadsNothingDoesNotHoldTheShutdownUp) {
  Watch watch(*jobs_, Where("kind = noop", /*changes_only=*/true));
  ASSERT_TRUE(watch.Read());
  for (const std::string& name : SubmitMany(9'000)) Wait(name);
  const absl::Time start = absl::Now();
  ShutDown();
  EXPECT_LT(absl::Now() - start, absl::Seconds(5));
}

class WatchJobsLimitsTest : public WatchJobsTest {
 protected:
  WatchJobsLimitsTest() : WatchJobsTest(Limits()) {}

  static ConfigFile Limits() {
    ConfigFile file = ConfigFile::Default();
    file.limits.max_watches = 2;
    file.max_call_bytes = 32 << 20;
    return file;
  }
};

TEST_F(WatchJobsLimitsTest, ACancelledCallFreesItsPlace) {
  Watch stays(*jobs_, Where("kind = noop"));
  ASSERT_TRUE(stays.Read());
  auto goes = std::make_unique<Watch>(*jobs_, Where("kind = noop"));
  ASSERT_TRUE(goes->Read());
  const grpc::Status refused = Refused(Where("kind = noop"));
  EXPECT_EQ(refused.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(ReasonOf(Details(refused)), v1::TOO_MANY_CALLS);
  goes.reset();
  EXPECT_TRUE(Eventually([&] {
    Watch next(*jobs_, Where("kind = noop"));
    return next.Read();
  }));
}

TEST_F(WatchJobsLimitsTest, WhatWasReadIsNotHeldAnyMore) {
  Watch watch(*jobs_, Where("kind = noop", /*changes_only=*/true));
  ASSERT_TRUE(watch.Read());
  const std::string payload(1 << 20, 'x');
  for (int i = 0; i < 20; ++i) {  // 2 MiB each, of 32
    Submit(Noop(payload));
    std::string said;
    do {
      said = watch.Say();
      ASSERT_NE(said, "(over)") << i << ": " << watch.reader->Finish().error_message();
    } while (said != "ENDED SUCCEEDED");
  }
}

TEST(WatchTokensTest, OnlyOfTheSameWatchAndStart) {
  const WatchTokens tokens(7, {"a", "b"}, "");
  EXPECT_EQ(*tokens.Read(tokens.Make(0)), 0);
  EXPECT_EQ(*tokens.Read(tokens.Make(UINT64_MAX)), UINT64_MAX);
  EXPECT_TRUE(absl::IsInvalidArgument(WatchTokens(7, {"a"}, "").Read(tokens.Make(1)).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(WatchTokens(7, {}, "a b").Read(tokens.Make(1)).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(tokens.Read(tokens.Make(1) + "A").status()));
  EXPECT_TRUE(absl::IsOutOfRange(WatchTokens(8, {"a", "b"}, "").Read(tokens.Make(1)).status()));
}

}  // namespace
}  // namespace jobpool::testing
