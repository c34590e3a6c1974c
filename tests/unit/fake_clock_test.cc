// Other tests rest on the fake clock: it has its own.

#include "tests/support/fake_clock.h"

#include <atomic>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "tests/support/watchdog.h"

namespace jobpool {
namespace {

// Waits by a clock, as the server does: in a loop over a predicate.
class Waiting {
 public:
  explicit Waiting(const Clock& clock) : clock_(clock) {}

  // Returns whether it was called before `deadline`.
  bool Await(MonotonicTime deadline) {
    MutexLock lock(mu_);
    while (!called_ && clock_.Monotonic() < deadline) clock_.WaitUntil(cv_, mu_, deadline);
    return called_;
  }

  void Call() {
    MutexLock lock(mu_);
    called_ = true;
    cv_.NotifyOne();
  }

 private:
  const Clock& clock_;
  Mutex mu_;
  CondVar cv_;
  bool called_ ABSL_GUARDED_BY(mu_) = false;
};

TEST(FakeClockTest, StandsStillUntilAdvanced) {
  FakeClock clock;
  const absl::Time now = clock.Now();
  const MonotonicTime monotonic = clock.Monotonic();
  EXPECT_EQ(clock.Now(), now);
  EXPECT_EQ(clock.Monotonic(), monotonic);
  clock.Advance(absl::Seconds(3));
  EXPECT_EQ(clock.Now(), now + absl::Seconds(3));
  EXPECT_EQ(clock.Monotonic(), monotonic + std::chrono::seconds(3));
  clock.SetNow(now - absl::Hours(1));
  EXPECT_EQ(clock.Now(), now - absl::Hours(1));
  EXPECT_EQ(clock.Monotonic(), monotonic + std::chrono::seconds(3));
}

TEST(FakeClockTest, DoesNotWaitForWhatHasPassed) {
  FakeClock clock;
  EXPECT_FALSE(Waiting(clock).Await(clock.Monotonic()));
}

TEST(FakeClockTest, WakesThoseWhoseTimeHasComeAndNoOther) {
  FakeClock clock;
  const MonotonicTime early = Later(clock.Monotonic(), absl::Seconds(1));
  const MonotonicTime late = Later(clock.Monotonic(), absl::Seconds(2));
  Waiting first(clock);
  Waiting second(clock);
  std::thread first_thread([&] { EXPECT_FALSE(first.Await(early)); });
  std::thread second_thread([&] { EXPECT_FALSE(second.Await(late)); });
  clock.AwaitSleepers(2);
  clock.Advance(absl::Seconds(1) - absl::Nanoseconds(1));
  clock.AwaitSleepers(2);
  clock.Advance(absl::Nanoseconds(1));
  first_thread.join();
  clock.AwaitSleepers(1);
  clock.AwaitSleeperUntil(late);
  clock.Advance(absl::Seconds(1));
  second_thread.join();
  clock.AwaitSleepers(0);
}

TEST(FakeClockTest, OthersNotifyToo) {
  FakeClock clock;
  Waiting waiting(clock);
  std::thread thread([&] { EXPECT_TRUE(waiting.Await(MonotonicTime::max())); });
  clock.AwaitSleeperUntil(MonotonicTime::max());
  clock.Advance(absl::Hours(1000));
  clock.AwaitSleepers(1);
  waiting.Call();
  thread.join();
}

// Who waits takes its mutex and condition variable along when it goes, be it
// while Advance is about to notify it.
TEST(FakeClockTest, SurvivesWaitersThatGoWhileItAdvances) {
  FakeClock clock;
  std::atomic<int> going{4};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 500; ++i) {
        Waiting waiting(clock);
        std::thread caller;
        if (i % 10 == 0) caller = std::thread([&] { waiting.Call(); });
        waiting.Await(Later(clock.Monotonic(), absl::Milliseconds(i % 3)));
        if (caller.joinable()) caller.join();
      }
      --going;
    });
  }
  while (going > 0) clock.Advance(absl::Milliseconds(1));
  for (std::thread& thread : threads) thread.join();
  clock.AwaitSleepers(0);
}

}  // namespace
}  // namespace jobpool
