#include "server/workers/task_queue.h"

#include <atomic>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "server/workers/service_pool.h"
#include "server/workers/thread_pool.h"
#include "server/workers/thread_registry.h"
#include "tests/support/eventually.h"
#include "tests/support/watchdog.h"

namespace jobpool {
namespace {

constexpr int kMany = 1'000'000;

class TaskQueueTest : public ::testing::Test {
 protected:
  // Runs all that is there on the calling thread; returns how many.
  int RunAll(TaskQueue& queue) {
    RegisteredThread worker(registry_, ThreadRole::kService, "");
    int ran = 0;
    while (queue.RunOne(worker)) ++ran;
    return ran;
  }

  ThreadPoolOptions Threads(int min, int max) {
    ThreadPoolOptions options;
    options.role = ThreadRole::kService;
    options.size = {min, max, absl::Microseconds(100)};
    return options;
  }

  ThreadRegistry registry_;
};

TEST_F(TaskQueueTest, TasksAreTakenInTheOrderOfTheirComing) {
  TaskQueue queue(kMany);
  std::vector<int> ran;
  int pushed = 0;
  // Over many blocks, which are used again: full ones, ones that run dry, and several at a time.
  for (int count : {1, 255, 256, 257, 3, 1000, 512, 5000, 1}) {
    for (int i = 0; i < count; ++i, ++pushed)
      ASSERT_TRUE(queue.Push([&ran, pushed] { ran.push_back(pushed); }));
    EXPECT_TRUE(queue.HasWork());
    EXPECT_EQ(RunAll(queue), count);
    EXPECT_FALSE(queue.HasWork());
  }
  ASSERT_EQ(ran.size(), static_cast<size_t>(pushed));
  for (int i = 0; i < pushed; ++i) ASSERT_EQ(ran[static_cast<size_t>(i)], i);
}

TEST_F(TaskQueueTest, AsManyMayWaitAsItIsToldAndNoMore) {
  RegisteredThread worker(registry_, ThreadRole::kService, "");
  for (int max : {1, 255, 256, 257, 700}) {
    TaskQueue queue(max);
    const auto kept = std::make_shared<int>();
    for (int round = 0; round < 3; ++round) {
      for (int i = 0; i < max; ++i) ASSERT_TRUE(queue.Push([kept] {}));
      EXPECT_EQ(kept.use_count(), max + 1);
      std::function<void()> refused = [] {};
      EXPECT_FALSE(queue.Push(std::move(refused)));
      EXPECT_TRUE(refused);  // NOLINT(bugprone-use-after-move): it was left as it was
      EXPECT_TRUE(queue.RunOne(worker));
      EXPECT_TRUE(queue.Push([kept] {}));
      EXPECT_FALSE(queue.Push([kept] {}));
      while (queue.RunOne(worker)) {
      }
      EXPECT_EQ(kept.use_count(), 1);  // who ran is gone
    }
  }
}

TEST_F(TaskQueueTest, DropsWhatWasNotTaken) {
  const auto kept = std::make_shared<int>();
  {
    TaskQueue queue(kMany);
    for (int i = 0; i < 1000; ++i) ASSERT_TRUE(queue.Push([kept] {}));
  }
  EXPECT_EQ(kept.use_count(), 1);
}

TEST_F(TaskQueueTest, WhatIsThereWhenItIsClosedCanBeTaken) {
  for (int count : {0, 1, 256, 300}) {
    TaskQueue queue(kMany);
    for (int i = 0; i < count; ++i) ASSERT_TRUE(queue.Push([] {}));
    queue.Close();
    EXPECT_FALSE(queue.Push([] {}));
    EXPECT_EQ(queue.HasWork(), count > 0);
    EXPECT_EQ(RunAll(queue), count);
    EXPECT_FALSE(queue.HasWork());
    EXPECT_FALSE(queue.Push([] {}));
    queue.Close();  // once more: does nothing
  }
}

TEST_F(TaskQueueTest, AWorkerRunsWhileTasksFollowAndIdlesThen) {
  Gate held;
  Gate go;
  std::vector<bool> running;
  TaskQueue queue(kMany);
  ThreadPool pool(Threads(1, 1), registry_, queue);  // ends first: its workers have the above
  const uint64_t id = registry_.Snapshot().threads.at(0).id;
  ASSERT_TRUE(queue.Push([&] {
    held.Open();
    go.Await();
  }));
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(queue.Push([&] { running.push_back(registry_.Find(id)->running()); }));
  }
  pool.Notify();
  held.Await();
  EXPECT_TRUE(registry_.Find(id)->running());
  go.Open();
  EXPECT_TRUE(Eventually([&] { return !registry_.Find(id)->running(); }));
  EXPECT_EQ(running, std::vector<bool>(3, true));
}

// All but one worker are held by a task, wherever in a block that is: what comes after it is run.
TEST_F(TaskQueueTest, ATaskThatTakesLongHoldsUpNoneBehindIt) {
  Gate go;
  std::atomic<int> ran{0};
  int pushed = 0;
  TaskQueue queue(kMany);
  ThreadPool pool(Threads(1, 4), registry_, queue);  // ends first: its workers have the above
  for (int held = 0; held < 3; ++held) {
    Gate begun;
    for (int i = 0; i < 300; ++i, ++pushed) {
      if (i == 100) {
        ASSERT_TRUE(queue.Push([&] {
          begun.Open();
          go.Await();
        }));
        pool.Notify();
      }
      ASSERT_TRUE(queue.Push([&] { ++ran; }));
      pool.Notify();
    }
    begun.Await();
    EXPECT_TRUE(Eventually([&] { return ran == pushed; }));
  }
  EXPECT_FALSE(go.IsOpen());
  go.Open();
}

struct Load {
  int producers;
  int workers;
  int max_tasks;
};

class TaskQueueLoadTest : public TaskQueueTest, public ::testing::WithParamInterface<Load> {
 protected:
  static constexpr int kTasks = 20'000;  // of each producer
};

// Takes are in the order of pushes: of two tasks of one producer that one worker runs, the first came first;
// with a single worker, all of them; and none is lost or run twice.
TEST_P(TaskQueueLoadTest, EachTaskRunsOnceInTheOrderOfItsProducer) {
  TaskQueue queue(GetParam().max_tasks);
  const auto producers = static_cast<size_t>(GetParam().producers);
  std::vector<std::vector<std::atomic<int>>> runs;
  for (size_t p = 0; p < producers; ++p) runs.emplace_back(kTasks);
  std::atomic<int> out_of_order{0};
  {
    ThreadPool pool(Threads(GetParam().workers, GetParam().workers), registry_, queue);
    std::vector<std::thread> threads;
    for (size_t p = 0; p < producers; ++p) {
      threads.emplace_back([&, p] {
        for (int i = 0; i < kTasks; ++i) {
          std::function<void()> task = [&, p, i] {
            thread_local std::vector<int> last;
            if (i == 0 || last.size() <= p) last.resize(producers, -1);
            if (last[p] >= i) ++out_of_order;
            last[p] = i;
            ++runs[p][static_cast<size_t>(i)];
          };
          while (!queue.Push(std::move(task))) std::this_thread::yield();
          pool.Notify();
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    queue.Close();
  }
  EXPECT_EQ(out_of_order, 0);
  for (const auto& of_producer : runs) {
    for (const std::atomic<int>& times : of_producer) ASSERT_EQ(times, 1);
  }
}

TEST_P(TaskQueueLoadTest, NothingIsLostWhileThreadsComeAndGo) {
  TaskQueue queue(GetParam().max_tasks);
  std::atomic<int> ran{0};
  std::atomic<int> accepted{0};
  {
    ThreadPool pool(Threads(0, GetParam().workers), registry_, queue);
    std::atomic<bool> stop{false};
    std::thread resizer([&] {
      for (int i = 0; !stop; ++i) pool.Resize({i % 3, i % 5 + 2, absl::Microseconds(i % 100)});
    });
    std::vector<std::thread> threads;
    for (int p = 0; p < GetParam().producers; ++p) {
      threads.emplace_back([&] {
        for (int i = 0; i < kTasks; ++i) {
          if (queue.Push([&] { ++ran; })) {
            ++accepted;
            pool.Notify();
          } else {
            std::this_thread::yield();
          }
          // Now and then it runs dry, so that threads idle and end.
          if (i % 1000 == 0) {
            EXPECT_TRUE(Eventually([&] { return !queue.HasWork(); }));
          }
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_TRUE(Eventually([&] { return ran == accepted; }));
    stop = true;
    resizer.join();
  }
  EXPECT_EQ(registry_.Count().total(), 0);
}

// A push that comes as the pool stops is either refused or run.
TEST_P(TaskQueueLoadTest, WhatIsAcceptedWhileItStopsIsRun) {
  for (int round = 0; round < 100; ++round) {
    std::atomic<int> ran{0};
    std::atomic<int> accepted{0};
    ServicePool pool(registry_, 0, GetParam().workers, GetParam().max_tasks);
    std::atomic<bool> stopped{false};
    std::vector<std::thread> threads;
    for (int p = 0; p < GetParam().producers; ++p) {
      threads.emplace_back([&] {
        while (!stopped || accepted == 0) {
          if (!pool.Run([&] { ++ran; })) {
            if (stopped) return;
            std::this_thread::yield();
            continue;
          }
          ++accepted;
        }
      });
    }
    while (accepted < round * 7 + 1) std::this_thread::yield();
    pool.Stop();
    stopped = true;
    for (std::thread& thread : threads) thread.join();
    ASSERT_EQ(ran, accepted);
  }
}

INSTANTIATE_TEST_SUITE_P(Loads, TaskQueueLoadTest,
                         ::testing::Values(Load{1, 1, kMany}, Load{1, 3, kMany}, Load{4, 1, kMany},
                                           Load{4, 2, kMany}, Load{4, 4, 1}, Load{3, 3, 300}),
                         [](const auto& load) { return std::to_string(load.index); });

}  // namespace
}  // namespace jobpool
