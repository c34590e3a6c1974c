#include "server/base/progress.h"

#include <cmath>
#include <limits>
#include <thread>

#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"

namespace jobpool {
namespace {

double RatioAfter(Progress& progress, double ratio) {
  progress.Set(ratio, "");
  return progress.Get()->ratio;
}

TEST(ProgressTest, IsUnsetAtFirst) { EXPECT_FALSE(Progress().Get().has_value()); }

TEST(ProgressTest, KeepsRatioAndMessage) {
  Progress progress;
  progress.Set(0.25, "a quarter");
  EXPECT_EQ(progress.Get()->ratio, 0.25);
  EXPECT_EQ(progress.Get()->message, "a quarter");
}

TEST(ProgressTest, NeverGoesDownButTakesTheMessage) {
  Progress progress;
  progress.Set(0.5, "half");
  progress.Set(0.25, "a quarter?");
  EXPECT_EQ(progress.Get()->ratio, 0.5);
  EXPECT_EQ(progress.Get()->message, "a quarter?");
}

TEST(ProgressTest, StaysWithinZeroAndOne) {
  Progress progress;
  EXPECT_EQ(RatioAfter(progress, -1), 0);
  EXPECT_EQ(RatioAfter(progress, -std::numeric_limits<double>::infinity()), 0);
  EXPECT_EQ(RatioAfter(progress, 1.5), 1);
  EXPECT_EQ(RatioAfter(progress, std::numeric_limits<double>::infinity()), 1);
  EXPECT_EQ(RatioAfter(progress, 0.1), 1);
}

// 0/0 is what a handler says that divides by the size of nothing.
TEST(ProgressTest, NotANumberIsNoProgress) {
  Progress progress;
  progress.Set(0.5, "");
  EXPECT_EQ(RatioAfter(progress, std::nan("")), 0.5);
  EXPECT_EQ(RatioAfter(progress, 0.25), 0.5);
}

TEST(ProgressTest, IsMonotoneForAReader) {
  Progress progress;
  std::thread writer([&] {
    for (int i = 0; i <= 2000; ++i) progress.Set(i % 7 == 0 ? 0 : i / 2000.0, absl::StrCat(i));
  });
  double last = 0;
  while (last < 1) {
    const std::optional<Progress::Value> value = progress.Get();
    if (!value.has_value()) continue;
    ASSERT_GE(value->ratio, last);
    last = value->ratio;
  }
  writer.join();
}

}  // namespace
}  // namespace jobpool
