#include "server/workers/service_pool.h"

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "tests/support/eventually.h"
#include "tests/support/watchdog.h"

namespace jobpool {
namespace {

class ServicePoolTest : public ::testing::Test {
 protected:
  ThreadRegistry registry_;
  Gate busy_;
  Gate go_;

  // Keeps a thread of `pool` until go_ opens.
  void Block(ServicePool& pool) {
    ASSERT_TRUE(pool.Run([this] {
      busy_.Open();
      go_.Await();
    }));
    busy_.Await();
  }
};

TEST_F(ServicePoolTest, RunsTasksInTheOrderOfTheirComing) {
  std::vector<int> ran;
  {
    ServicePool pool(registry_, 1, 1, 1000);
    Block(pool);
    for (int i = 0; i < 1000; ++i) EXPECT_TRUE(pool.Run([&ran, i] { ran.push_back(i); }));
    go_.Open();
  }
  ASSERT_EQ(ran.size(), 1000u);
  for (int i = 0; i < 1000; ++i) EXPECT_EQ(ran[static_cast<size_t>(i)], i);
}

TEST_F(ServicePoolTest, ItsThreadsAreServiceThreadsThatRunWhileTheyDo) {
  ServicePool pool(registry_, 2, 2, 10);
  EXPECT_EQ(registry_.Count().by_role[static_cast<size_t>(ThreadRole::kService)], 2);
  Gate checked;
  ASSERT_TRUE(pool.Run([&] {
    const RegisteredThread* self = RegisteredThread::Current();
    ASSERT_NE(self, nullptr);
    EXPECT_TRUE(registry_.Find(self->id())->running());
    EXPECT_EQ(registry_.Find(self->id())->jobs_run, 0u);
    checked.Open();
  }));
  checked.Await();
}

TEST_F(ServicePoolTest, RefusesWhenItsBoundIsReached) {
  ServicePool pool(registry_, 1, 1, 3);
  EXPECT_EQ(pool.max_tasks(), 3);
  Block(pool);  // runs: does not wait
  std::atomic<int> ran{0};
  const auto dropped = std::make_shared<int>();
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(pool.Run([&] { ++ran; }));
  EXPECT_FALSE(pool.Run([&ran, dropped] { ++ran; }));
  EXPECT_EQ(dropped.use_count(), 1);
  go_.Open();
  pool.Stop();
  EXPECT_EQ(ran, 3);
}

TEST_F(ServicePoolTest, HasRoomAgainWhenATaskWasTaken) {
  ServicePool pool(registry_, 1, 1, 1);
  Block(pool);
  Gate second_runs;
  EXPECT_TRUE(pool.Run([&] { second_runs.Open(); }));
  EXPECT_FALSE(pool.Run([] {}));
  go_.Open();
  second_runs.Await();
  EXPECT_TRUE(pool.Run([] {}));
}

TEST_F(ServicePoolTest, ManyCallersAndFewThreads) {
  std::atomic<int> ran{0};
  {
    ServicePool pool(registry_, 0, 2, 4);
    std::vector<std::thread> callers;
    for (int t = 0; t < 4; ++t) {
      callers.emplace_back([&] {
        for (int i = 0; i < 500; ++i) {
          while (!pool.Run([&] { ++ran; })) std::this_thread::yield();
        }
      });
    }
    for (std::thread& caller : callers) caller.join();
  }
  EXPECT_EQ(ran, 2000);
  EXPECT_EQ(registry_.Count().total(), 0);
}

// Run's promise: what it takes is run.
TEST_F(ServicePoolTest, TakesNothingAfterStopThatItDoesNotRun) {
  bool ran = false;
  bool taken = false;
  {
    ServicePool pool(registry_, 1, 1, 10);
    pool.Stop();
    taken = pool.Run([&] { ran = true; });
  }
  EXPECT_EQ(taken, ran);
}

}  // namespace
}  // namespace jobpool
