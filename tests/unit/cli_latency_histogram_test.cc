#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "client/cli/latency_histogram.h"

namespace jobpool::cli {
namespace {

constexpr double kPercents[] = {0, 1, 50, 90, 99, 99.9, 100};

/// The exact answer.
absl::Duration PercentileOf(std::vector<absl::Duration> values, double percent) {
  std::sort(values.begin(), values.end());
  const double wanted = std::ceil(percent / 100 * static_cast<double>(values.size()) - 1e-6);
  return values[static_cast<size_t>(std::max(wanted, 1.0)) - 1];
}

TEST(LatencyHistogramTest, KnowsValuesOfEachSizeToATenthOfAPercent) {
  std::mt19937_64 random(1);
  for (int bits = 1; bits <= 45; ++bits) {
    LatencyHistogram histogram;
    std::vector<absl::Duration> values;
    std::uniform_int_distribution<int64_t> of_size(0, (int64_t{1} << bits) - 1);
    for (int i = 0; i < 1000; ++i) {
      values.push_back(absl::Nanoseconds(of_size(random)));
      histogram.Record(values.back());
    }
    for (const double percent : kPercents) {
      const absl::Duration exact = PercentileOf(values, percent);
      EXPECT_GE(histogram.Percentile(percent), exact) << bits << " bits, " << percent;
      EXPECT_LE(histogram.Percentile(percent), exact * 1.001) << bits << " bits, " << percent;
    }
  }
}

TEST(LatencyHistogramTest, SmallOnesAreExact) {
  LatencyHistogram histogram;
  for (int i = 1; i <= 1000; ++i) histogram.Record(absl::Nanoseconds(i));
  EXPECT_EQ(histogram.count(), 1000);
  EXPECT_EQ(histogram.Min(), absl::Nanoseconds(1));
  EXPECT_EQ(histogram.Max(), absl::Nanoseconds(1000));
  EXPECT_EQ(histogram.Percentile(50), absl::Nanoseconds(500));
  EXPECT_EQ(histogram.Percentile(99.9), absl::Nanoseconds(999));
  EXPECT_NEAR(absl::ToDoubleNanoseconds(histogram.Mean()), 500.5, 0.5);
}

TEST(LatencyHistogramTest, NoPercentileIsAboveTheLargest) {
  LatencyHistogram histogram;
  const absl::Duration value = absl::Nanoseconds(123'456'789);
  histogram.Record(value);
  for (const double percent : kPercents) EXPECT_EQ(histogram.Percentile(percent), value);
}

TEST(LatencyHistogramTest, WhatIsOutOfItsRangeIsKept) {
  LatencyHistogram histogram;
  histogram.Record(absl::Seconds(-1));
  histogram.Record(absl::Hours(100));
  EXPECT_EQ(histogram.Min(), absl::ZeroDuration());
  EXPECT_EQ(histogram.Percentile(50), absl::ZeroDuration());
  EXPECT_EQ(histogram.Percentile(99), absl::Hours(100));
  EXPECT_EQ(histogram.Max(), absl::Hours(100));
}

}  // namespace
}  // namespace jobpool::cli
