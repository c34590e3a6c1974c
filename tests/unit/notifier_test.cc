#include "server/pipeline/notifier.h"

#include <atomic>
#include <latch>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>
#include <prometheus/registry.h>

#include "absl/strings/str_cat.h"
#include "server/pipeline/completion.h"
#include "server/store/memory_store.h"
#include "tests/support/error_details.h"
#include "tests/support/eventually.h"
#include "tests/support/fake_clock.h"
#include "tests/support/job_builder.h"
#include "tests/support/log_hook.h"
#include "tests/support/watchdog.h"

namespace jobpool {
namespace {

using Mode = Join::Mode;

// What a wait said; shared with it, since it may outlive the test's wish to know.
struct Told {
  std::atomic<int> times{0};
  std::atomic<bool> timed_out{false};
  Gate done;
};

// Jobs that nobody runs: the test ends them.
class NotifierTest : public ::testing::Test {
 protected:
  void Add(absl::string_view id) { ASSERT_TRUE(table_.Insert(MakeJob(id)).ok()); }

  void End(absl::string_view id) {
    EXPECT_TRUE(completion_.End(table_.Find(id), JobState::kQueued, JobState::kCancelled, {},
                                MakeOutcome(clock_.Now())));
  }

  absl::StatusOr<std::shared_ptr<Join>> Wait(const std::vector<std::string>& ids, Mode mode,
                                             const std::shared_ptr<Told>& told,
                                             std::optional<absl::Duration> timeout = std::nullopt) {
    std::optional<MonotonicTime> deadline;
    if (timeout.has_value()) deadline = Later(notifier_.Now(), *timeout);
    return notifier_.Wait(ids, mode, deadline, [told](Join::Result result) {
      told->timed_out = result == Join::Result::kTimedOut;
      ++told->times;
      told->done.Open();
    });
  }

  static constexpr int64_t kMaxWaits = 100;

  FakeClock clock_;
  ThreadRegistry registry_;
  prometheus::Registry prometheus_;
  JobMetrics metrics_{prometheus_, {{"sleep"}, {"blocking"}, {"succeeded", "failed", "cancelled"}}};
  JobLog log_{clock_};
  JobTable table_{size_t{1} << 30};
  MemoryStore store_{100'000};
  JobReader reader_{table_, store_};
  JobEvents events_{Clock::Real(), 1000};
  Timer timer_{registry_, clock_};
  JobTimers job_timers_{timer_, [](const auto&) {}, [](const auto&) {}};
  Completion completion_{table_, store_, job_timers_, metrics_, log_, events_, {"blocking"}};
  Notifier notifier_{reader_, timer_, kMaxWaits};
};

TEST_F(NotifierTest, AllWaitsForTheLast) {
  for (const char* id : {"a", "b", "c"}) Add(id);
  const auto told = std::make_shared<Told>();
  const auto join = Wait({"c", "a", "b"}, Mode::kAll, told);
  ASSERT_TRUE(join.ok());
  End("a");
  End("c");
  EXPECT_EQ(told->times, 0);
  End("b");
  EXPECT_EQ(told->times, 1);
  EXPECT_FALSE(told->timed_out);
  ASSERT_EQ((*join)->jobs().size(), 3u);
  EXPECT_EQ((*join)->jobs()[0].Snapshot().record.id, "c");  // in the order of the names
  for (const JobHandle& job : (*join)->jobs()) EXPECT_TRUE(IsEnded(job.Snapshot().record.state));
}

TEST_F(NotifierTest, AnyWaitsForTheFirst) {
  for (const char* id : {"a", "b", "c"}) Add(id);
  const auto told = std::make_shared<Told>();
  const auto join = Wait({"a", "b", "c"}, Mode::kAny, told);
  EXPECT_EQ(told->times, 0);
  End("b");
  EXPECT_EQ(told->times, 1);
  EXPECT_FALSE(told->timed_out);
  EXPECT_EQ((*join)->jobs().size(), 3u);  // all of them
  End("a");
  End("c");
  EXPECT_EQ(told->times, 1);
}

TEST_F(NotifierTest, WhatHasEndedNeedNotBeWaitedFor) {
  for (const char* id : {"a", "b", "c"}) Add(id);
  End("a");
  const auto any = std::make_shared<Told>();
  ASSERT_TRUE(Wait({"b", "a"}, Mode::kAny, any).ok());
  EXPECT_EQ(any->times, 1);
  const auto all = std::make_shared<Told>();
  ASSERT_TRUE(Wait({"b", "a"}, Mode::kAll, all).ok());
  EXPECT_EQ(all->times, 0);
  End("b");
  EXPECT_EQ(all->times, 1);
  const auto both = std::make_shared<Told>();
  ASSERT_TRUE(Wait({"b", "a"}, Mode::kAll, both).ok());
  EXPECT_EQ(both->times, 1);
}

TEST_F(NotifierTest, DuplicatesCountEachTime) {
  for (const char* id : {"a", "b"}) Add(id);
  const auto all = std::make_shared<Told>();
  const auto any = std::make_shared<Told>();
  ASSERT_TRUE(Wait({"a", "b", "a", "a"}, Mode::kAll, all).ok());
  ASSERT_TRUE(Wait({"a", "a"}, Mode::kAny, any).ok());
  End("a");
  EXPECT_EQ(any->times, 1);
  EXPECT_EQ(all->times, 0);
  End("b");
  EXPECT_EQ(all->times, 1);
}

TEST_F(NotifierTest, RunsOutAtItsTimeout) {
  Add("a");
  const auto told = std::make_shared<Told>();
  const auto join = Wait({"a"}, Mode::kAll, told, absl::Seconds(5));
  clock_.AwaitSleeperUntil(Later(clock_.Monotonic(), absl::Seconds(5)));
  clock_.Advance(absl::Seconds(5) - absl::Nanoseconds(1));
  EXPECT_EQ(told->times, 0);
  clock_.Advance(absl::Nanoseconds(1));
  ASSERT_TRUE(told->done.Await());
  EXPECT_TRUE(told->timed_out);
  EXPECT_EQ((*join)->jobs()[0].Snapshot().record.state, JobState::kQueued);
  End("a");
  EXPECT_EQ(told->times, 1);
}

TEST_F(NotifierTest, DoesNotRunOutOnceSatisfied) {
  Add("a");
  const auto told = std::make_shared<Told>();
  ASSERT_TRUE(Wait({"a"}, Mode::kAll, told, absl::Seconds(5)).ok());
  End("a");
  EXPECT_FALSE(told->timed_out);
  clock_.Advance(absl::Seconds(5));
  Gate settled;
  timer_.At(timer_.Now(), [&] { settled.Open(); });
  settled.Await();
  EXPECT_EQ(told->times, 1);
}

TEST_F(NotifierTest, NoTimeIsAMereLook) {
  for (const char* id : {"a", "b"}) Add(id);
  End("b");
  for (const auto& [mode, timed_out] : {std::pair(Mode::kAll, true), std::pair(Mode::kAny, false)}) {
    const auto told = std::make_shared<Told>();
    ASSERT_TRUE(Wait({"a", "b"}, mode, told, absl::ZeroDuration()).ok());
    EXPECT_EQ(told->times, 1);
    EXPECT_EQ(told->timed_out, timed_out);
  }
  const auto told = std::make_shared<Told>();
  ASSERT_TRUE(Wait({"a"}, Mode::kAll, told, -absl::Seconds(1)).ok());
  EXPECT_TRUE(told->timed_out);
}

TEST_F(NotifierTest, OneUnknownNameIsNotFound) {
  Add("a");
  const auto told = std::make_shared<Told>();
  const auto join = Wait({"a", "x"}, Mode::kAny, told);
  EXPECT_EQ(join.status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(MetadataOf(join.status())["name"], "jobs/x");
  End("a");
  EXPECT_EQ(told->times, 0);
}

TEST_F(NotifierTest, WhoAbandonsIsNotTold) {
  Add("a");
  const auto told = std::make_shared<Told>();
  auto join = Wait({"a"}, Mode::kAll, told, absl::Seconds(5));
  ASSERT_TRUE(join.ok());
  (*join)->Abandon();
  (*join)->Abandon();
  EXPECT_EQ(join->use_count(), 1);  // neither the job nor the timer holds it
  End("a");
  clock_.Advance(absl::Seconds(5));
  EXPECT_EQ(told->times, 0);
}

TEST_F(NotifierTest, NothingHoldsAWaitThatIsOver) {
  for (const char* id : {"a", "b"}) Add(id);
  const auto told = std::make_shared<Told>();
  auto join = Wait({"a", "b", "b"}, Mode::kAny, told, absl::Hours(1));
  ASSERT_TRUE(join.ok());
  End("a");
  EXPECT_EQ(join->use_count(), 1);
  join->reset();
  EXPECT_EQ(told.use_count(), 1);
}

TEST_F(NotifierTest, BoundsHowManyJobsAreWaitedFor) {
  Add("a");
  const auto told = std::make_shared<Told>();
  const std::vector<std::string> sixty(60, "a");
  const std::vector<std::string> forty(40, "a");
  auto first = Wait(sixty, Mode::kAll, told);
  ASSERT_TRUE(first.ok());
  const absl::Status refused = Wait(std::vector<std::string>(41, "a"), Mode::kAll, told).status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(ReasonOf(refused), "TOO_MANY_CALLS");
  EXPECT_EQ(MetadataOf(refused)["limit"], "100");
  auto second = Wait(forty, Mode::kAll, told);
  ASSERT_TRUE(second.ok());
  EXPECT_FALSE(Wait({"a"}, Mode::kAll, told).ok());

  // Each way to end gives its places back: abandoned, timed out, satisfied.
  (*second)->Abandon();
  second->reset();
  second = Wait(forty, Mode::kAll, std::make_shared<Told>(), absl::ZeroDuration());
  ASSERT_TRUE(second.ok());
  second->reset();
  second = Wait(forty, Mode::kAll, told);
  ASSERT_TRUE(second.ok());
  End("a");
  first->reset();
  second->reset();
  EXPECT_EQ(told->times, 2);
  Add("b");
  EXPECT_TRUE(Wait(std::vector<std::string>(100, "b"), Mode::kAny, told).ok());
  End("b");
}

// The jobs end while the wait is being set up, runs out and is abandoned: it is
// told once, unless abandoned, and then at most once; and everything lets go.
TEST_F(NotifierTest, IsToldOnceHoweverTheEndsFall) {
  constexpr int kRounds = 600;
  for (int round = 0; round < kRounds; ++round) {
    std::vector<std::string> ids;
    for (int i = 0; i < 6; ++i) {
      ids.push_back(absl::StrCat("j", round, "-", i));
      Add(ids.back());
    }
    const Mode mode = round % 2 == 0 ? Mode::kAll : Mode::kAny;
    const bool with_timeout = round % 3 == 0;
    const bool abandoned = round % 5 == 0;
    const auto told = std::make_shared<Told>();
    std::latch start(3);
    std::thread enders[2];
    for (size_t t = 0; t < 2; ++t) {
      enders[t] = std::thread([&, t] {
        start.arrive_and_wait();
        for (size_t i = t; i < ids.size(); i += 2) End(ids[i]);
        if (t == 0) clock_.Advance(absl::Seconds(1));
      });
    }
    start.arrive_and_wait();
    auto join =
        Wait(ids, mode, told, with_timeout ? std::optional<absl::Duration>(absl::Seconds(1)) : std::nullopt);
    ASSERT_TRUE(join.ok());
    if (abandoned) (*join)->Abandon();
    for (std::thread& ender : enders) ender.join();
    if (!abandoned) {
      ASSERT_TRUE(told->done.Await());
    }
    EXPECT_LE(told->times, 1);
    if (!with_timeout) {
      EXPECT_FALSE(told->timed_out);
    }
    // The timer's thread may be about to let go.
    ASSERT_TRUE(Eventually([&] { return join->use_count() == 1; }));
  }
  // And every place was given back.
  Add("last");
  EXPECT_TRUE(Wait(std::vector<std::string>(kMaxWaits, "last"), Mode::kAll, std::make_shared<Told>()).ok());
  End("last");
}

}  // namespace
}  // namespace jobpool
