#include "server/job/job_id.h"

#include <algorithm>
#include <latch>
#include <set>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "server/job/resource_name.h"

namespace jobpool {
namespace {

const absl::Time kNow = absl::FromUnixMillis(1'767'225'600'123);

TEST(JobIdMakerTest, MakesResourceIdsOfFifteenCharacters) {
  // The ends of what is possible: the epoch, before it, and the last of 42 bits (2109).
  for (const absl::Time now : {absl::UnixEpoch(), absl::FromUnixSeconds(-1), absl::InfinitePast(), kNow,
                               absl::FromUnixMillis((int64_t{1} << 42) - 1)}) {
    for (uint64_t seed = 0; seed < 64; ++seed) {
      JobIdMaker ids(seed * 0x9e3779b97f4a7c15);
      const std::string id = ids.Next(now);
      EXPECT_EQ(id.size(), 15u);
      EXPECT_EQ(id[0], 'j');
      EXPECT_TRUE(IsResourceId(id)) << id;
    }
  }
}

TEST(JobIdMakerTest, ByteOrderIsTheOrderOfMaking) {
  JobIdMaker ids(7);
  std::string last;
  absl::Time now = kNow;
  for (int i = 0; i < 20'000; ++i) {
    const std::string id = ids.Next(now);
    ASSERT_LT(last, id);
    last = id;
    if (i % 13 == 0) now += absl::Milliseconds(1);
  }
}

TEST(JobIdMakerTest, GoesOnWhenTheClockGoesBack) {
  JobIdMaker ids(7);
  std::string last = ids.Next(kNow);
  for (const absl::Duration back : {absl::Milliseconds(1), absl::Hours(1), absl::Hours(24 * 365 * 60)}) {
    for (int i = 0; i < 100; ++i) {
      const std::string id = ids.Next(kNow - back);
      ASSERT_LT(last, id);
      last = id;
    }
  }
  EXPECT_LT(last, ids.Next(kNow + absl::Milliseconds(1)));
}

// More in one millisecond than a server makes: the count does not run into ids
// that the next milliseconds begin with.
TEST(JobIdMakerTest, HasRoomWithinAMillisecond) {
  JobIdMaker ids(7);
  std::string last;
  for (int i = 0; i < 100'000; ++i) last = ids.Next(kNow);
  JobIdMaker fresh(7);
  EXPECT_LT(last, fresh.Next(kNow + absl::Milliseconds(1)));
}

TEST(JobIdMakerTest, MakersWithOtherSeedsMakeOtherIds) {
  std::set<std::string> made;
  for (uint64_t seed = 0; seed < 32; ++seed) made.insert(JobIdMaker(seed).Next(kNow));
  EXPECT_EQ(made.size(), 32u);
}

TEST(JobIdMakerTest, IdsAreUniqueOverThreads) {
  constexpr size_t kThreads = 4;
  constexpr size_t kEach = 10'000;
  JobIdMaker ids(7);
  std::latch start(kThreads);
  std::vector<std::vector<std::string>> made(kThreads);
  std::vector<std::thread> threads;
  for (size_t t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      start.arrive_and_wait();
      // Each thread sees the clock go its own way.
      for (size_t i = 0; i < kEach; ++i) {
        made[t].push_back(ids.Next(kNow + absl::Milliseconds(static_cast<int64_t>(i * (t + 1) % 50))));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::set<std::string> all;
  for (const std::vector<std::string>& of_thread : made) {
    EXPECT_TRUE(std::is_sorted(of_thread.begin(), of_thread.end()));
    all.insert(of_thread.begin(), of_thread.end());
  }
  EXPECT_EQ(all.size(), kThreads * kEach);
}

}  // namespace
}  // namespace jobpool
