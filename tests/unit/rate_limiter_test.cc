#include "server/base/rate_limiter.h"

#include <chrono>

#include <gtest/gtest.h>

namespace jobpool {
namespace {

constexpr MonotonicTime kStart{std::chrono::hours(1)};

int TakeMany(RateLimiter& limiter, MonotonicTime now) {
  int taken = 0;
  while (taken < 10'000 && limiter.Take(now)) ++taken;
  return taken;
}

TEST(RateLimiterTest, WithoutARateEverythingPasses) {
  RateLimiter limiter(absl::Seconds(1), 0);
  EXPECT_FALSE(limiter.limited());
  EXPECT_EQ(TakeMany(limiter, kStart), 10'000);
}

TEST(RateLimiterTest, OneAtATimeWhereTheBurstIsLessThanOne) {
  RateLimiter limiter(absl::Milliseconds(100), 4);
  EXPECT_EQ(TakeMany(limiter, kStart), 1);
  EXPECT_EQ(limiter.NextTime(), Later(kStart, absl::Milliseconds(250)));
  EXPECT_FALSE(limiter.Take(Later(kStart, absl::Milliseconds(249))));
  EXPECT_TRUE(limiter.Take(Later(kStart, absl::Milliseconds(250))));
}

TEST(RateLimiterTest, TheBurstComesAtOnceAndThenTheRate) {
  RateLimiter limiter(absl::Seconds(1), 100);
  int taken = TakeMany(limiter, kStart);
  EXPECT_EQ(taken, 100);
  for (int ms = 1; ms <= 10'000; ++ms) taken += TakeMany(limiter, Later(kStart, absl::Milliseconds(ms)));
  EXPECT_NEAR(taken, 1100, 1);
}

TEST(RateLimiterTest, WhatIsNotUsedIsNotSavedUp) {
  RateLimiter limiter(absl::Milliseconds(100), 100);
  EXPECT_EQ(TakeMany(limiter, Later(kStart, absl::Hours(1))), 10);
}

TEST(RateLimiterTest, ManyTogetherPassTogetherAndArePaidForAfterwards) {
  RateLimiter limiter(absl::Seconds(1), 10);
  EXPECT_TRUE(limiter.Take(kStart, 50));
  EXPECT_FALSE(limiter.Take(Later(kStart, absl::Milliseconds(4050))));
  EXPECT_TRUE(limiter.Take(Later(kStart, absl::Milliseconds(4101))));
}

TEST(RateLimiterTest, WhatIsGivenBackCanBeTakenAgain) {
  RateLimiter limiter(absl::Seconds(1), 10);
  EXPECT_TRUE(limiter.Take(kStart, 10));
  EXPECT_FALSE(limiter.Take(kStart));
  limiter.GiveBack(10);
  EXPECT_EQ(TakeMany(limiter, kStart), 10);
}

TEST(RateLimiterTest, ANewRateCountsFromNowOn) {
  RateLimiter limiter(absl::Seconds(1), 1);
  EXPECT_TRUE(limiter.Take(kStart));
  limiter.SetRate(0);
  EXPECT_TRUE(limiter.Take(kStart));
  limiter.SetRate(1000);
  EXPECT_TRUE(limiter.Take(Later(kStart, absl::Seconds(1))));
}

}  // namespace
}  // namespace jobpool
