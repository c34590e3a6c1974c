#include "server/base/clock.h"

#include <gtest/gtest.h>

namespace jobpool {
namespace {

constexpr MonotonicTime kEnd = MonotonicTime::max();
constexpr MonotonicTime kStart{std::chrono::hours(1)};

TEST(LaterTest, AddsBothWays) {
  EXPECT_EQ(Later(kStart, absl::ZeroDuration()), kStart);
  EXPECT_EQ(Later(kStart, absl::Nanoseconds(1)), kStart + std::chrono::nanoseconds(1));
  EXPECT_EQ(Later(kStart, absl::Hours(30 * 24)), kStart + std::chrono::hours(30 * 24));
  EXPECT_EQ(Later(kStart, -absl::Seconds(1)), kStart - std::chrono::seconds(1));
}

TEST(LaterTest, EndsWithTheEndOfTime) {
  const absl::Duration left = absl::FromChrono(kEnd - kStart);
  EXPECT_EQ(Later(kStart, left - absl::Nanoseconds(1)), kEnd - std::chrono::nanoseconds(1));
  EXPECT_EQ(Later(kStart, left), kEnd);
  EXPECT_EQ(Later(kStart, left + absl::Nanoseconds(1)), kEnd);
  EXPECT_EQ(Later(kStart, absl::InfiniteDuration()), kEnd);
  EXPECT_EQ(Later(kEnd, absl::ZeroDuration()), kEnd);
  EXPECT_EQ(Later(kEnd, absl::Nanoseconds(1)), kEnd);
  EXPECT_EQ(Later(kEnd, -absl::Nanoseconds(1)), kEnd - std::chrono::nanoseconds(1));
  EXPECT_LT(Later(kStart, -absl::InfiniteDuration()), MonotonicTime());
}

TEST(RealClockTest, GoesOn) {
  const Clock& clock = Clock::Real();
  const MonotonicTime monotonic = clock.Monotonic();
  EXPECT_GE(clock.Monotonic(), monotonic);
  EXPECT_GT(clock.Now(), absl::FromUnixSeconds(1'700'000'000));
  EXPECT_EQ(&clock, &Clock::Real());
}

TEST(RealClockTest, WaitsUntilTheDeadline) {
  const Clock& clock = Clock::Real();
  Mutex mu;
  CondVar cv;
  const MonotonicTime deadline = Later(clock.Monotonic(), absl::Milliseconds(20));
  MutexLock lock(mu);
  clock.WaitUntil(cv, mu, MonotonicTime());  // has passed: returns
  while (clock.Monotonic() < deadline) clock.WaitUntil(cv, mu, deadline);
}

}  // namespace
}  // namespace jobpool
