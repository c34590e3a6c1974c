#include "server/workers/thread_pool.h"

#include <atomic>
#include <chrono>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "tests/support/eventually.h"
#include "tests/support/fake_clock.h"
#include "tests/support/task_source.h"
#include "tests/support/watchdog.h"

namespace jobpool {
namespace {

ThreadPoolOptions Threads(int min, int max, absl::Duration idle_timeout = absl::Seconds(10)) {
  ThreadPoolOptions options;
  options.name = "p";
  options.size = {min, max, idle_timeout};
  return options;
}

// A task that holds its worker until it is let go.
struct Held {
  uint64_t worker = 0;
  Gate started;
  Gate go;
};

class ThreadPoolTest : public ::testing::Test {
 protected:
  std::shared_ptr<Held> Push(ThreadPool& pool) {
    auto held = std::make_shared<Held>();
    source_.Push([held](RegisteredThread& worker) {
      held->worker = worker.id();
      held->started.Open();
      held->go.Await();
    });
    pool.Notify();
    return held;
  }

  // As Push, and returns when a worker is on it.
  std::shared_ptr<Held> Hold(ThreadPool& pool) {
    auto held = Push(pool);
    held->started.Await();
    return held;
  }

  int count() const { return registry_.Count().total(); }

  FakeClock clock_;
  ThreadRegistry registry_;
  TaskSource source_;
};

TEST_F(ThreadPoolTest, ALostThreadIsReplacedAndEndsWhenItsWorkReturns) {
  ThreadPool pool(Threads(0, 1), registry_, source_, clock_);
  const auto stubborn = Hold(pool);
  const auto next = Push(pool);
  EXPECT_TRUE(pool.Replace(stubborn->worker));
  next->started.Await();  // by another, though there may be one at most
  EXPECT_NE(next->worker, stubborn->worker);
  EXPECT_EQ(pool.Load().lost, 1);
  EXPECT_EQ(pool.Load().beyond_max, 0);
  EXPECT_EQ(registry_.Find(stubborn->worker)->state, ThreadState::kRetiring);
  EXPECT_EQ(count(), 2);
  stubborn->go.Open();
  EXPECT_TRUE(Eventually([&] { return count() == 1 && pool.Load().lost == 0; }));
  EXPECT_FALSE(registry_.Find(stubborn->worker).has_value());
  next->go.Open();
}

TEST_F(ThreadPoolTest, KeptThreadsAreReplacedWithoutWork) {
  ThreadPool pool(Threads(2, 2), registry_, source_, clock_);
  const auto stubborn = Hold(pool);
  EXPECT_TRUE(pool.Replace(stubborn->worker));
  EXPECT_TRUE(Eventually([&] { return count() == 3; }));
  stubborn->go.Open();
  EXPECT_TRUE(Eventually([&] { return count() == 2; }));
}

TEST_F(ThreadPoolTest, NoMoreAreReplacedThanItsMaximum) {
  ThreadPool pool(Threads(0, 1), registry_, source_, clock_);
  const auto first = Hold(pool);
  EXPECT_TRUE(pool.Replace(first->worker));
  EXPECT_FALSE(pool.Replace(first->worker));  // once is enough
  const auto second = Hold(pool);
  EXPECT_FALSE(pool.Replace(second->worker));
  EXPECT_FALSE(pool.Replace(12345));
  EXPECT_EQ(pool.Load().lost, 1);
  first->go.Open();
  EXPECT_TRUE(Eventually([&] { return pool.Load().lost == 0; }));
  EXPECT_TRUE(pool.Replace(second->worker));
  second->go.Open();
}

TEST_F(ThreadPoolTest, StopWaitsForLostThreads) {
  ThreadPool pool(Threads(0, 1), registry_, source_, clock_);
  const auto stubborn = Hold(pool);
  EXPECT_TRUE(pool.Replace(stubborn->worker));
  std::thread stopper([&] { pool.Stop(); });
  stubborn->go.Open();
  stopper.join();
  EXPECT_EQ(count(), 0);
}

TEST_F(ThreadPoolTest, MinThreadsAreRegisteredAfterConstruction) {
  for (int round = 0; round < 50; ++round) {
    ThreadPool pool(Threads(3, 5), registry_, source_, clock_);
    ASSERT_EQ(count(), 3);
    for (const ThreadInfo& thread : registry_.Snapshot().threads) {
      EXPECT_EQ(thread.pool, "p");
      EXPECT_EQ(thread.role, ThreadRole::kWorker);
    }
  }
  EXPECT_EQ(count(), 0);
}

TEST_F(ThreadPoolTest, HasNoThreadWithoutWork) {
  ThreadPool pool(Threads(0, 5), registry_, source_, clock_);
  EXPECT_EQ(count(), 0);
}

TEST_F(ThreadPoolTest, GrowsToMaxAndNoFurther) {
  ThreadPool pool(Threads(0, 3), registry_, source_, clock_);
  std::vector<std::shared_ptr<Held>> running;
  for (int i = 0; i < 3; ++i) {
    running.push_back(Hold(pool));
    EXPECT_EQ(count(), i + 1);
  }
  std::vector<std::shared_ptr<Held>> waiting;
  for (int i = 0; i < 5; ++i) waiting.push_back(Push(pool));
  EXPECT_EQ(count(), 3);
  for (const auto& held : running) held->go.Open();
  std::set<uint64_t> workers = {running[0]->worker, running[1]->worker, running[2]->worker};
  EXPECT_EQ(workers.size(), 3u);
  for (const auto& held : waiting) {
    held->started.Await();
    EXPECT_LE(count(), 3);
    held->go.Open();
    EXPECT_EQ(workers.count(held->worker), 1u);
  }
  EXPECT_EQ(pool.failed_starts(), 0u);
}

// Counts how often it is asked whether there is work.
class CountedSource final : public WorkSource {
 public:
  explicit CountedSource(WorkSource& source) : source_(source) {}
  bool RunOne(RegisteredThread& worker) override { return source_.RunOne(worker); }
  bool HasWork() const override {
    ++looks_;
    return source_.HasWork();
  }
  int looks() const { return looks_; }

 private:
  WorkSource& source_;
  mutable std::atomic<int> looks_{0};
};

// In a pool that may grow the next work would find no idle worker, and one thread more would be started for
// it.
TEST_F(ThreadPoolTest, AWorkerLooksAgainBeforeItSleepsWhereThePoolHasAllItsThreads) {
  const auto looks = [this](int max_threads) {
    CountedSource source(source_);
    ThreadPool pool(Threads(0, max_threads), registry_, source, clock_);
    Hold(pool)->go.Open();
    clock_.AwaitSleepers(1);
    return source.looks();
  };
  EXPECT_EQ(looks(2), 1);
  EXPECT_GT(looks(1), 1);
}

TEST_F(ThreadPoolTest, ShrinksToMinWhenItsThreadsHaveIdled) {
  ThreadPool pool(Threads(1, 3), registry_, source_, clock_);
  clock_.AwaitSleeperUntil(MonotonicTime::max());  // the one that is kept
  std::vector<std::shared_ptr<Held>> running;
  for (int i = 0; i < 3; ++i) running.push_back(Hold(pool));
  for (const auto& held : running) held->go.Open();
  clock_.AwaitSleepers(3);
  clock_.Advance(absl::Seconds(10) - absl::Nanoseconds(1));
  clock_.AwaitSleepers(3);
  EXPECT_EQ(count(), 3);
  clock_.Advance(absl::Nanoseconds(1));
  clock_.AwaitSleepers(1);
  clock_.AwaitSleeperUntil(MonotonicTime::max());
  EXPECT_TRUE(Eventually([&] { return count() == 1; }));
  clock_.Advance(absl::Hours(1000));
  const auto held = Hold(pool);
  EXPECT_EQ(count(), 1);
  held->go.Open();
}

TEST_F(ThreadPoolTest, TheIdleTimeBeginsAnewWithEachWork) {
  ThreadPool pool(Threads(0, 1), registry_, source_, clock_);
  uint64_t worker = 0;
  for (int i = 0; i < 5; ++i) {
    const auto held = Hold(pool);
    if (worker == 0) worker = held->worker;
    EXPECT_EQ(held->worker, worker);
    held->go.Open();
    clock_.AwaitSleeperUntil(Later(clock_.Monotonic(), absl::Seconds(10)));
    clock_.Advance(absl::Seconds(9));
  }
  clock_.Advance(absl::Seconds(1));
  EXPECT_TRUE(Eventually([&] { return count() == 0; }));
  const auto held = Hold(pool);
  EXPECT_NE(held->worker, worker);
  held->go.Open();
}

TEST_F(ThreadPoolTest, TheLastToGoIdleIsWokenFirst) {
  ThreadPool pool(Threads(3, 3), registry_, source_, clock_);
  std::vector<std::shared_ptr<Held>> running;
  for (int i = 0; i < 3; ++i) running.push_back(Hold(pool));
  for (size_t i = 0; i < 3; ++i) {
    running[i]->go.Open();
    clock_.AwaitSleepers(i + 1);
  }
  for (int i = 2; i >= 0; --i) {
    const auto held = Hold(pool);
    EXPECT_EQ(held->worker, running[static_cast<size_t>(i)]->worker);
    running.push_back(held);
  }
  for (const auto& held : running) held->go.Open();
}

TEST_F(ThreadPoolTest, StopRunsTheWorkThatIsLeft) {
  std::atomic<int> ran{0};
  auto pool = std::make_unique<ThreadPool>(Threads(0, 2), registry_, source_, clock_);
  const auto first = Hold(*pool);
  const auto second = Hold(*pool);
  for (int i = 0; i < 100; ++i) {
    source_.Push([&](RegisteredThread&) { ++ran; });
    pool->Notify();
  }
  Gate stopping;
  std::thread stopper([&] {
    stopping.Open();
    pool->Stop();
    EXPECT_EQ(ran, 100);
    EXPECT_EQ(count(), 0);
  });
  stopping.Await();
  first->go.Open();
  second->go.Open();
  stopper.join();
  pool->Stop();  // once more: does nothing
  source_.Push([](RegisteredThread&) { FAIL() << "ran after Stop"; });
  pool->Notify();
  pool.reset();
  EXPECT_EQ(count(), 0);
}

TEST_F(ThreadPoolTest, StopEndsIdleThreads) {
  ThreadPool pool(Threads(2, 4), registry_, source_, clock_);
  clock_.AwaitSleepers(2);
  pool.Stop();
  EXPECT_EQ(count(), 0);
}

TEST_F(ThreadPoolTest, ALargerPoolTakesWhatWaits) {
  ThreadPool pool(Threads(0, 1), registry_, source_, clock_);
  const auto first = Hold(pool);
  const auto second = Push(pool);
  EXPECT_EQ(count(), 1);
  pool.Resize({0, 2, absl::Seconds(10)});
  pool.Notify();
  second->started.Await();
  EXPECT_EQ(count(), 2);
  first->go.Open();
  second->go.Open();
}

TEST_F(ThreadPoolTest, ARaisedMinimumStartsThreadsAtOnce) {
  ThreadPool pool(Threads(0, 1), registry_, source_, clock_);
  pool.Resize({3, 3, absl::Seconds(10)});
  EXPECT_TRUE(Eventually([&] { return count() == 3; }));
  pool.Resize({1, 3, absl::Seconds(10)});
  clock_.AwaitSleepers(3);
  clock_.Advance(absl::Seconds(10));
  EXPECT_TRUE(Eventually([&] { return count() == 1; }));
}

TEST_F(ThreadPoolTest, ASmallerPoolStopsNobodyAndLosesNothing) {
  ThreadPool pool(Threads(4, 4), registry_, source_, clock_);
  std::vector<std::shared_ptr<Held>> running;
  for (int i = 0; i < 4; ++i) running.push_back(Hold(pool));
  std::vector<std::shared_ptr<Held>> waiting;
  for (int i = 0; i < 6; ++i) waiting.push_back(Push(pool));
  pool.Resize({1, 1, absl::Seconds(10)});
  EXPECT_EQ(count(), 4);
  for (const auto& held : running) held->go.Open();
  EXPECT_TRUE(Eventually([&] { return count() == 1; }));
  for (const auto& held : waiting) held->go.Open();
  for (const auto& held : waiting) EXPECT_TRUE(held->started.Await());
  EXPECT_EQ(count(), 1);
}

TEST_F(ThreadPoolTest, IdleThreadsBeyondTheMaximumEndAtOnce) {
  ThreadPool pool(Threads(3, 3), registry_, source_, clock_);
  clock_.AwaitSleepers(3);
  pool.Resize({0, 2, absl::Seconds(10)});
  EXPECT_TRUE(Eventually([&] { return count() == 2; }));
  pool.Resize({0, 2, absl::ZeroDuration()});
  EXPECT_TRUE(Eventually([&] { return count() == 0; }));
}

TEST_F(ThreadPoolTest, NothingIsLostWhileItIsResized) {
  ThreadPool pool(Threads(0, 8, absl::Microseconds(50)), registry_, source_);
  std::atomic<bool> stop{false};
  std::thread resizer([&] {
    for (int i = 0; !stop.load(); ++i) pool.Resize({i % 3, i % 7 + 2, absl::Microseconds(i % 100)});
  });
  constexpr int kTasks = 20'000;
  std::atomic<int> done{0};
  for (int i = 0; i < kTasks; ++i) {
    source_.Push([&](RegisteredThread&) { done.fetch_add(1); });
    pool.Notify();
    // Now and then it runs dry, so that threads idle and end.
    if (i % 50 == 0) {
      ASSERT_TRUE(Eventually([&] { return done.load() == i + 1; })) << i;
    }
  }
  EXPECT_TRUE(Eventually([&] { return done.load() == kTasks; }));
  stop = true;
  resizer.join();
}

// A worker that goes idle, or ends, and a source that gets work must not miss
// each other: the next piece comes when the last is just done, while the worker
// is anywhere on its way to sleep or out.
class ThreadPoolStressTest : public ::testing::TestWithParam<ThreadPoolOptions> {
 protected:
  // Runs `count` tasks, each when the one before has run. Returns false if one
  // never is. Spins: a thread that slept would come when the worker is long idle.
  bool PingPong(ThreadPool& pool, int count) {
    const auto ran = std::make_shared<std::atomic<int>>(0);
    for (int i = 1; i <= count; ++i) {
      source_.Push([ran](RegisteredThread&) { ++*ran; });
      pool.Notify();
      const auto limit = std::chrono::steady_clock::now() + kTestPatience;
      for (int spins = 0; *ran < i; ++spins) {
        if (spins % 1024 == 1023) std::this_thread::yield();
        if (spins % 65536 == 65535 && std::chrono::steady_clock::now() > limit) return false;
      }
      // A little later each time, so that every moment of the worker's way is met.
      std::atomic<int> pause{0};
      while (++pause < i % 512) {
      }
    }
    return true;
  }

  ThreadRegistry registry_;
  TaskSource source_;
};

TEST_P(ThreadPoolStressTest, NoWorkIsMissed) {
  ThreadPool pool(GetParam(), registry_, source_);
  const bool starts_often = GetParam().size.idle_timeout < absl::Milliseconds(1);
  EXPECT_TRUE(PingPong(pool, starts_often ? 3000 : 30'000));
  pool.Stop();
  EXPECT_EQ(registry_.Count().total(), 0);
}

TEST_P(ThreadPoolStressTest, NoWorkOfSeveralIsMissed) {
  ThreadPool pool(GetParam(), registry_, source_);
  std::vector<std::thread> producers;
  for (int p = 0; p < 2; ++p) producers.emplace_back([&] { EXPECT_TRUE(PingPong(pool, 1000)); });
  for (std::thread& producer : producers) producer.join();
  EXPECT_LE(registry_.Count().total(), GetParam().size.max_threads + 1);  // one may be on its way out
}

INSTANTIATE_TEST_SUITE_P(Sizes, ThreadPoolStressTest,
                         ::testing::Values(Threads(1, 1), Threads(0, 1, absl::ZeroDuration()),
                                           Threads(0, 2, absl::Microseconds(50)),
                                           Threads(1, 3, absl::ZeroDuration())),
                         [](const auto& kind) { return std::to_string(kind.index); });

}  // namespace
}  // namespace jobpool
