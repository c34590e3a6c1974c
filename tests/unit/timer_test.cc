#include "server/pipeline/timer.h"

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "tests/support/eventually.h"
#include "tests/support/fake_clock.h"
#include "tests/support/watchdog.h"

namespace jobpool {
namespace {

class TimerTest : public ::testing::Test {
 protected:
  MonotonicTime In(absl::Duration delay) const { return Later(clock_.Monotonic(), delay); }

  // Returns when all that is due has been called: what is due now comes after it.
  void Settle(Timer& timer) {
    Gate called;
    timer.At(clock_.Monotonic(), [&] { called.Open(); });
    called.Await();
  }

  // A function that writes down that it was called.
  std::function<void()> Say(const std::string& word) {
    return [this, word] {
      MutexLock lock(mu_);
      said_ += word;
    };
  }

  std::string said() {
    MutexLock lock(mu_);
    return said_;
  }

  FakeClock clock_;
  ThreadRegistry registry_;
  Mutex mu_;
  std::string said_ ABSL_GUARDED_BY(mu_);
};

TEST_F(TimerTest, CallsInTheOrderOfTheirTimes) {
  Timer timer(registry_, clock_);
  timer.At(In(absl::Seconds(3)), Say("d"));
  timer.At(In(absl::Seconds(1)), Say("a"));
  timer.At(In(absl::Seconds(2)), Say("b"));
  timer.At(In(absl::Seconds(2)), Say("c"));  // equal: in the order of their coming
  clock_.Advance(absl::Seconds(3));
  Settle(timer);
  EXPECT_EQ(said(), "abcd");
}

TEST_F(TimerTest, TimesOfDayAreMetAmongOthers) {
  Timer timer(registry_, clock_);
  timer.AtTime(clock_.Now() + absl::Seconds(2), Say("b"));
  timer.At(In(absl::Seconds(1)), Say("a"));
  timer.At(In(absl::Seconds(3)), Say("c"));
  const Timer::Id dropped = timer.AtTime(clock_.Now() + absl::Seconds(2), Say("x"));
  EXPECT_TRUE(timer.Cancel(dropped));
  EXPECT_FALSE(timer.Cancel(dropped));
  for (const char* expected : {"a", "ab", "abc"}) {
    clock_.Advance(absl::Seconds(1));
    Settle(timer);
    EXPECT_EQ(said(), expected);
  }
}

// An operator sets the clock: what is due by it then is called when the timer next wakes.
TEST_F(TimerTest, TimesOfDayFollowTheClock) {
  Timer timer(registry_, clock_);
  const absl::Time noon = clock_.Now() + absl::Hours(3);
  timer.AtTime(noon, Say("noon"));
  timer.At(In(absl::Seconds(1)), Say("tick "));
  clock_.SetNow(noon);
  clock_.Advance(absl::Seconds(1));
  Settle(timer);
  EXPECT_EQ(said(), "noontick ");
}

TEST_F(TimerTest, ATimeOfDayThatMovesAwayIsNotMet) {
  Timer timer(registry_, clock_);
  const absl::Time noon = clock_.Now() + absl::Hours(3);
  timer.AtTime(noon, Say("noon"));
  clock_.SetNow(noon - absl::Hours(100));
  clock_.Advance(absl::Hours(3));
  Settle(timer);
  EXPECT_EQ(said(), "");
  clock_.Advance(absl::Hours(97));
  Settle(timer);
  EXPECT_EQ(said(), "noon");
}

TEST_F(TimerTest, CallsWhenTheTimeHasComeAndNotBefore) {
  Timer timer(registry_, clock_);
  timer.At(In(absl::Seconds(1)), Say("a"));
  timer.At(In(absl::Seconds(2)), Say("b"));
  clock_.Advance(absl::Seconds(1) - absl::Nanoseconds(1));
  Settle(timer);
  EXPECT_EQ(said(), "");
  clock_.Advance(absl::Nanoseconds(1));
  Settle(timer);
  EXPECT_EQ(said(), "a");
  clock_.Advance(absl::Hours(1));
  Settle(timer);
  EXPECT_EQ(said(), "ab");
}

TEST_F(TimerTest, ASoonerOneWakesItFromALongSleep) {
  Timer timer(registry_, clock_);
  timer.At(MonotonicTime::max(), Say("never"));
  clock_.AwaitSleeperUntil(MonotonicTime::max());
  timer.At(In(absl::Seconds(5)), Say("b"));
  clock_.AwaitSleeperUntil(In(absl::Seconds(5)));
  timer.At(In(absl::Seconds(1)), Say("a"));
  clock_.AwaitSleeperUntil(In(absl::Seconds(1)));
  clock_.Advance(absl::Seconds(1));
  Settle(timer);
  EXPECT_EQ(said(), "a");
}

TEST_F(TimerTest, CallsSoonWhatIsOverdue) {
  Gate called;
  Timer timer(registry_, clock_);
  timer.At(In(-absl::Minutes(30)), [&] { called.Open(); });
  EXPECT_TRUE(called.Await());
}

TEST_F(TimerTest, DoesNotCallWhatIsCancelled) {
  Timer timer(registry_, clock_);
  const Timer::Id a = timer.At(In(absl::Seconds(1)), Say("a"));
  const Timer::Id b = timer.At(In(absl::Seconds(1)), Say("b"));
  EXPECT_NE(a, b);
  EXPECT_TRUE(timer.Cancel(a));
  EXPECT_FALSE(timer.Cancel(a));
  clock_.Advance(absl::Seconds(1));
  Settle(timer);
  EXPECT_EQ(said(), "b");
  EXPECT_FALSE(timer.Cancel(b));
}

TEST_F(TimerTest, LetsGoOfWhatIsCancelledOrCalled) {
  Timer timer(registry_, clock_);
  const auto held = std::make_shared<int>();
  const Timer::Id id = timer.At(In(absl::Seconds(1)), [held] {});
  EXPECT_TRUE(timer.Cancel(id));
  EXPECT_EQ(held.use_count(), 1);
  timer.At(In(absl::ZeroDuration()), [held] {});
  Settle(timer);
  EXPECT_EQ(held.use_count(), 1);
}

TEST_F(TimerTest, CannotCancelWhatIsBeingCalled) {
  Gate calling;
  Gate go;
  Timer timer(registry_, clock_);  // last: its thread uses them until it has ended
  const Timer::Id id = timer.At(In(absl::ZeroDuration()), [&] {
    calling.Open();
    go.Await();
  });
  calling.Await();
  EXPECT_FALSE(timer.Cancel(id));
  go.Open();
}

TEST_F(TimerTest, AFunctionMayCancelItselfAndOthers) {
  Gate called;
  Timer timer(registry_, clock_);
  const Timer::Id other = timer.At(In(absl::Seconds(2)), Say("other"));
  Timer::Id self;
  self = timer.At(In(absl::Seconds(1)), [&] {
    EXPECT_FALSE(timer.Cancel(self));
    EXPECT_TRUE(timer.Cancel(other));
    called.Open();
  });
  clock_.Advance(absl::Seconds(2));
  called.Await();
  Settle(timer);
  EXPECT_EQ(said(), "");
}

TEST_F(TimerTest, AFunctionMayScheduleTheNext) {
  Timer timer(registry_, clock_);
  std::atomic<int> ticks{0};
  std::function<void()> tick = [&] {
    ++ticks;
    timer.At(In(absl::Seconds(1)), tick);
  };
  timer.At(In(absl::Seconds(1)), tick);
  for (int i = 1; i <= 5; ++i) {
    clock_.Advance(absl::Seconds(1));
    Settle(timer);
    EXPECT_EQ(ticks, i);
  }
  timer.Stop();
}

TEST_F(TimerTest, RunsOnOneServiceThread) {
  Gate called;
  Timer timer(registry_, clock_);
  Settle(timer);
  EXPECT_EQ(registry_.Count().by_role[static_cast<size_t>(ThreadRole::kService)], 1);
  timer.At(In(absl::ZeroDuration()), [&] {
    ASSERT_NE(RegisteredThread::Current(), nullptr);
    EXPECT_TRUE(registry_.Find(RegisteredThread::Current()->id())->running());
    called.Open();
  });
  called.Await();
  timer.Stop();
  EXPECT_EQ(registry_.Count().total(), 0);
}

// As a pool: who counts after the construction counts the thread.
TEST_F(TimerTest, ItsThreadIsRegisteredAfterConstruction) {
  int missing = 0;
  for (int round = 0; round < 200; ++round) {
    Timer timer(registry_, clock_);
    missing += registry_.Count().total() == 0;
  }
  EXPECT_EQ(missing, 0) << "times of 200";
}

TEST_F(TimerTest, StopDropsWhatWasNotCalled) {
  Timer timer(registry_, clock_);
  timer.At(In(absl::Seconds(1)), Say("a"));
  timer.Stop();
  clock_.Advance(absl::Seconds(1));
  timer.At(In(absl::ZeroDuration()), Say("b"));
  timer.Stop();
  EXPECT_EQ(said(), "");
}

TEST_F(TimerTest, StopWaitsForTheFunctionThatIsBeingCalled) {
  Gate calling;
  Gate go;
  Timer timer(registry_, clock_);  // last: its thread uses them until it has ended
  std::atomic<bool> done{false};
  timer.At(In(absl::ZeroDuration()), [&] {
    calling.Open();
    go.Await();
    done = true;
  });
  calling.Await();
  std::thread stopper([&] {
    timer.Stop();
    EXPECT_TRUE(done);
  });
  go.Open();
  stopper.join();
}

TEST_F(TimerTest, CallsOrCancelsEachOnceOverThreads) {
  Timer timer(registry_, clock_);
  std::atomic<int> called{0};
  std::atomic<int> cancelled{0};
  std::atomic<int> going{3};
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 1000; ++i) {
        const Timer::Id id = timer.At(In(absl::Milliseconds(i % 4)), [&] { ++called; });
        if (t == 0) std::this_thread::yield();
        if (i % 2 == 0 && timer.Cancel(id)) ++cancelled;
      }
      --going;
    });
  }
  while (going > 0) clock_.Advance(absl::Milliseconds(1));
  for (std::thread& thread : threads) thread.join();
  clock_.Advance(absl::Seconds(1));
  Settle(timer);
  EXPECT_EQ(called + cancelled, 3000);
}

}  // namespace
}  // namespace jobpool
