#include "server/base/small_mutex.h"

#include <atomic>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "server/base/mutex.h"

namespace jobpool {
namespace {

TEST(SmallMutexTest, LetsOneInAtATime) {
  constexpr int kThreads = 4;
  constexpr int kTimes = 20'000;
  SmallMutex mu;
  int count = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&] {
      for (int time = 0; time < kTimes; ++time) {
        const MutexLock lock(mu);
        const int before = count;
        if (time % 1000 == 0) std::this_thread::yield();  // so that others wait for it
        count = before + 1;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(count, kThreads * kTimes);
}

TEST(SmallMutexTest, AllWhoWaitComeIn) {
  constexpr int kThreads = 4;
  SmallMutex mu;
  std::atomic<int> waiting{0};
  int in = 0;
  std::vector<std::thread> threads;
  mu.Lock();
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&] {
      ++waiting;
      const MutexLock lock(mu);
      ++in;
    });
  }
  while (waiting < kThreads) std::this_thread::yield();
  EXPECT_EQ(in, 0);
  mu.Unlock();
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(in, kThreads);
}

}  // namespace
}  // namespace jobpool
