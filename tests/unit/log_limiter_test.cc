#include <gmock/gmock.h>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "server/pipeline/job_log.h"
#include "server/telemetry/log.h"
#include "tests/support/fake_clock.h"
#include "tests/support/job_builder.h"
#include "tests/support/log_hook.h"

namespace jobpool {
namespace {

using ::testing::HasSubstr;

TEST(LogLimiterTest, LetsThroughSoManyASecond) {
  FakeClock clock;
  LogLimiter limiter(3, clock);
  int64_t suppressed = -1;
  for (int second = 0; second < 3; ++second) {
    for (int i = 0; i < 3; ++i) {
      EXPECT_TRUE(limiter.Allow(&suppressed));
      EXPECT_EQ(suppressed, second > 0 && i == 0 ? 2 : 0);
    }
    EXPECT_FALSE(limiter.Allow(&suppressed));
    clock.Advance(absl::Seconds(1) - absl::Nanoseconds(1));
    EXPECT_FALSE(limiter.Allow(&suppressed));
    clock.Advance(absl::Nanoseconds(1));
  }
}

TEST(LogLimiterTest, SavesNothingUp) {
  FakeClock clock;
  LogLimiter limiter(2, clock);
  int64_t suppressed = 0;
  clock.Advance(absl::Hours(1));
  EXPECT_TRUE(limiter.Allow(&suppressed));
  EXPECT_TRUE(limiter.Allow(&suppressed));
  EXPECT_FALSE(limiter.Allow(&suppressed));
}

TEST(LogLimiterTest, MayLetNothingThrough) {
  FakeClock clock;
  LogLimiter limiter(0, clock);
  int64_t suppressed = 0;
  EXPECT_FALSE(limiter.Allow(&suppressed));
  clock.Advance(absl::Seconds(2));
  EXPECT_FALSE(limiter.Allow(&suppressed));
}

TEST(LogTest, KnowsItsLevels) {
  for (const char* level : {"trace", "debug", "info", "warn", "error", "off"}) {
    EXPECT_TRUE(InitLog(level).ok()) << level;
  }
  EXPECT_EQ(InitLog("loud").code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(InitLog("").code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(InitLog("info", "xml").code(), absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(InitLog("off").ok());
}

class JobLogTest : public ::testing::Test {
 protected:
  void LogMany(absl::string_view level, int count) {
    const LogHook hook(level, [this](const std::string& line) { lines_.push_back(line); });
    for (int i = 0; i < count; ++i) log_.Ended(*MakeEnded("a", 1, 2));
  }

  FakeClock clock_;
  JobLog log_{clock_};
  std::vector<std::string> lines_;
};

TEST_F(JobLogTest, SaysWhatStartedAndEnded) {
  const LogHook hook("info", [this](const std::string& line) { lines_.push_back(line); });
  JobRecord record = MakeRecord("a");
  record.number = 7;
  Attempt attempt;
  attempt.thread_display_name = "Thread-1";
  attempt.os_thread_id = 99;
  attempt.start_time = absl::FromUnixSeconds(10);
  ThreadRegistry registry;
  const RegisteredThread thread(registry, ThreadRole::kWorker, "p");
  log_.Started(record.id, record.DisplayName(), Kind::kSleep, thread);
  ASSERT_TRUE(record.Start(attempt));
  Outcome outcome = MakeOutcome(absl::FromUnixSeconds(12));
  outcome.error = absl::InternalError("broken");
  ASSERT_TRUE(record.End(JobState::kFailed, {}, outcome));
  log_.Ended(record);
  ASSERT_EQ(lines_.size(), 2u);
  EXPECT_EQ(lines_[0],
            absl::StrCat(
                "job started job=jobs/a display_name=\"Job-7\" kind=sleep thread=\"Thread-1\" os_thread_id=",
                thread.os_thread_id()));
  EXPECT_EQ(lines_[1],
            "job ended job=jobs/a display_name=\"Job-7\" kind=sleep state=FAILED thread=\"Thread-1\" "
            "run_seconds=2.000000 error=\"broken\"");
}

// Names are the callers': one must not be able to write fields of its own.
TEST_F(JobLogTest, ANameDoesNotLookLikeAnotherField) {
  const LogHook hook("info", [this](const std::string& line) { lines_.push_back(line); });
  ThreadRegistry registry;
  log_.Started("a", "x\" state=SUCCEEDED y=\"", Kind::kSleep,
               RegisteredThread(registry, ThreadRole::kWorker, "p"));
  EXPECT_THAT(lines_.back(), ::testing::Not(HasSubstr("x\" state=SUCCEEDED")));
}

TEST_F(JobLogTest, LeavesOutBeyondAHundredASecondAndSaysHowMany) {
  LogMany("info", 150);
  EXPECT_EQ(lines_.size(), 100u);
  clock_.Advance(absl::Seconds(1));
  lines_.clear();
  LogMany("info", 1);
  ASSERT_EQ(lines_.size(), 2u);
  EXPECT_THAT(lines_[0], HasSubstr("job lines left out count=50"));
  EXPECT_THAT(lines_[1], HasSubstr("job ended job=jobs/a"));
}

TEST_F(JobLogTest, ShowsAllAtDebugAndNoneAboveInfo) {
  LogMany("debug", 150);
  EXPECT_EQ(lines_.size(), 150u);
  LogMany("warn", 10);
  EXPECT_EQ(lines_.size(), 150u);
}

}  // namespace
}  // namespace jobpool
