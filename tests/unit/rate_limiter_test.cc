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
  EXPECT_EQ(limiter.NextTime(kStart), Later(kStart, absl::Milliseconds(250)));
  EXPECT_FALSE(limiter.Take(Later(kStart, absl::Milliseconds(249))));
  EXPECT_TRUE(limiter.Take(Later(kStart, absl::Milliseconds(250))));
}

TEST(RateLimiterTest, AMachineThatIsUpForLongCountsAsWell) {
  for (int i = 0; i < 1000; ++i) {
    const MonotonicTime now = MonotonicTime(std::chrono::hours(24 * 4000)) + std::chrono::nanoseconds(i);
    RateLimiter limiter(absl::ZeroDuration(), 4);
    EXPECT_TRUE(limiter.Take(now)) << i;
    EXPECT_NEAR(absl::ToDoubleSeconds(absl::FromChrono(limiter.NextTime(now) - now)), 0.25, 1e-6);
  }
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

TEST(RateLimiterTest, ManyTogetherPassTogetherOrNot) {
  RateLimiter limiter(absl::Seconds(1), 10);
  EXPECT_TRUE(limiter.Take(kStart, 4));
  EXPECT_FALSE(limiter.Take(kStart, 7));
  EXPECT_EQ(limiter.NextTime(kStart, 7), Later(kStart, absl::Milliseconds(100)));
  EXPECT_TRUE(limiter.Take(kStart, 6));
  EXPECT_FALSE(limiter.Take(Later(kStart, absl::Milliseconds(950)), 10));
  EXPECT_TRUE(limiter.Take(Later(kStart, absl::Milliseconds(1001)), 10));
}

TEST(RateLimiterTest, MoreThanABurstNeverPassesTogether) {
  RateLimiter limiter(absl::Seconds(1), 10);
  EXPECT_TRUE(limiter.Allows(kStart, 10));
  EXPECT_FALSE(limiter.Allows(kStart, 11));
  const MonotonicTime later = Later(kStart, absl::Hours(1));
  EXPECT_FALSE(limiter.Take(later, 11));
  EXPECT_GT(limiter.NextTime(later, 11), later);
  EXPECT_TRUE(limiter.Take(later, 10));  // it was not counted
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
