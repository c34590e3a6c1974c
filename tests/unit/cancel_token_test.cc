#include "server/base/cancel_token.h"

#include <atomic>
#include <latch>
#include <poll.h>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "server/base/clock.h"
#include "server/base/event.h"
#include "tests/support/watchdog.h"

namespace jobpool {
namespace {

TEST(CancelTokenTest, IsNotCancelledAtFirst) {
  const CancelToken token;
  EXPECT_FALSE(token.cancelled());
  EXPECT_EQ(token.reason(), CancelReason::kNone);
}

TEST(CancelTokenTest, FirstReasonWins) {
  CancelToken token;
  token.Cancel(CancelReason::kCallerGone);
  token.Cancel(CancelReason::kInterrupted);
  EXPECT_TRUE(token.cancelled());
  EXPECT_EQ(token.reason(), CancelReason::kCallerGone);
}

TEST(CancelTokenTest, AReasonAfterWhichItMayRunAgainGivesWay) {
  for (const CancelReason first : {CancelReason::kTimeout, CancelReason::kInterrupted}) {
    for (const CancelReason owner : {CancelReason::kRequested, CancelReason::kCallerGone}) {
      CancelToken token;
      token.Cancel(first);
      token.Cancel(owner);
      EXPECT_EQ(token.reason(), owner);
    }
  }
  CancelToken token;
  token.Cancel(CancelReason::kInterrupted);
  token.Cancel(CancelReason::kTimeout);
  token.Cancel(CancelReason::kDeadline);
  EXPECT_EQ(token.reason(), CancelReason::kInterrupted);
}

TEST(CancelTokenTest, FirstReasonWinsOverThreads) {
  for (int round = 0; round < 200; ++round) {
    CancelToken token;
    std::latch start(3);
    std::vector<CancelReason> seen(3);
    std::vector<std::thread> threads;
    const CancelReason reasons[] = {CancelReason::kRequested, CancelReason::kCallerGone,
                                    CancelReason::kDeadline};
    for (size_t i = 0; i < 3; ++i) {
      threads.emplace_back([&, i] {
        start.arrive_and_wait();
        token.Cancel(reasons[i]);
        seen[i] = token.reason();
      });
    }
    for (std::thread& thread : threads) thread.join();
    for (const CancelReason reason : seen) EXPECT_EQ(reason, token.reason());
    EXPECT_NE(token.reason(), CancelReason::kNone);
  }
}

TEST(CancelTokenTest, SleepsItsTime) {
  CancelToken token;
  const MonotonicTime start = Clock::Real().Monotonic();
  EXPECT_TRUE(token.SleepFor(absl::Milliseconds(20)));
  EXPECT_GE(Clock::Real().Monotonic() - start, std::chrono::milliseconds(20));
}

TEST(CancelTokenTest, DoesNotSleepForNoTimeOrLess) {
  CancelToken token;
  EXPECT_TRUE(token.SleepFor(absl::ZeroDuration()));
  EXPECT_TRUE(token.SleepFor(-absl::Hours(1)));
  EXPECT_TRUE(token.SleepFor(-absl::InfiniteDuration()));
}

TEST(CancelTokenTest, DoesNotSleepOnceCancelled) {
  CancelToken token;
  token.Cancel(CancelReason::kRequested);
  EXPECT_FALSE(token.SleepFor(absl::InfiniteDuration()));
}

// The sleeper is anywhere between its look at the token and its wait when Cancel
// comes: if that could be missed, a round would hang, and the watchdog bite.
TEST(CancelTokenTest, WakesASleeperWhereverItIs) {
  for (int round = 0; round < 2000; ++round) {
    CancelToken token;
    std::latch start(2);
    std::thread sleeper([&] {
      start.arrive_and_wait();
      EXPECT_FALSE(token.SleepFor(round % 2 == 0 ? absl::InfiniteDuration() : absl::Hours(24)));
    });
    start.arrive_and_wait();
    token.Cancel(CancelReason::kRequested);
    sleeper.join();
  }
}

bool IsRaised(const Event& event) {
  pollfd readable = {event.descriptor(), POLLIN, 0};
  return poll(&readable, 1, 0) == 1;
}

TEST(CancelTokenTest, RaisesItsEventWhenItIsCancelledOrIf) {
  const Event before;
  const Event after;
  const Event no_more;
  CancelToken token;
  token.set_event(&no_more);
  token.set_event(nullptr);
  token.set_event(&before);
  EXPECT_FALSE(IsRaised(before));
  token.Cancel(CancelReason::kRequested);
  EXPECT_TRUE(IsRaised(before));
  EXPECT_FALSE(IsRaised(no_more));
  token.set_event(&after);
  EXPECT_TRUE(IsRaised(after));
}

TEST(CancelTokenTest, WakesAllSleepersAtOnce) {
  CancelToken token;
  std::latch about_to_sleep(4);
  std::vector<std::thread> sleepers;
  for (int i = 0; i < 4; ++i) {
    sleepers.emplace_back([&] {
      about_to_sleep.count_down();
      EXPECT_FALSE(token.SleepFor(absl::Hours(24)));
    });
  }
  about_to_sleep.wait();
  const MonotonicTime cancelled = Clock::Real().Monotonic();
  token.Cancel(CancelReason::kRequested);
  for (std::thread& sleeper : sleepers) sleeper.join();
  // 50 ms is what handlers promise; here a slow machine has forty times that.
  EXPECT_LT(Clock::Real().Monotonic() - cancelled, std::chrono::seconds(2));
}

}  // namespace
}  // namespace jobpool
