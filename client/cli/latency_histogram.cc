#include "client/cli/latency_histogram.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>

namespace jobpool::cli {
namespace {

constexpr int kBitsOfHalf = 10;  // 1,024 buckets to a power of two
constexpr uint64_t kHalf = uint64_t{1} << kBitsOfHalf;
constexpr int kBits = 46;  // 2^46 ns are 19.5 hours
constexpr uint64_t kLargest = (uint64_t{1} << kBits) - 1;

/// Values below 2 * kHalf have a bucket each; from there on each power of two has kHalf of them.
size_t BucketOf(uint64_t value) {
  if (value < 2 * kHalf) return value;
  const int shift = std::bit_width(value) - (kBitsOfHalf + 1);
  return static_cast<size_t>(shift) * kHalf + (value >> shift);
}

/// The largest value of a bucket.
uint64_t LargestOf(size_t bucket) {
  if (bucket < 2 * kHalf) return bucket;
  const size_t shift = bucket / kHalf - 1;
  const uint64_t place = bucket - shift * kHalf;
  return ((place + 1) << shift) - 1;
}

}  // namespace

LatencyHistogram::LatencyHistogram() : counts_(BucketOf(kLargest) + 1) {}

void LatencyHistogram::Record(absl::Duration value) {
  value = std::max(value, absl::ZeroDuration());
  const auto nanoseconds = static_cast<uint64_t>(absl::ToInt64Nanoseconds(value));
  ++counts_[BucketOf(std::min(nanoseconds, kLargest))];
  ++count_;
  sum_ += value;
  min_ = std::min(min_, value);
  max_ = std::max(max_, value);
}

absl::Duration LatencyHistogram::Percentile(double percent) const {
  const double share = std::clamp(percent, 0.0, 100.0) / 100;
  // 99.9% of 1,000 is 999, and not one more for the sake of the last binary digit.
  const auto wanted =
      std::max(int64_t{1}, static_cast<int64_t>(std::ceil(share * static_cast<double>(count_) - 1e-6)));
  int64_t seen = 0;
  for (size_t bucket = 0; bucket < counts_.size(); ++bucket) {
    seen += counts_[bucket];
    if (seen < wanted) continue;
    if (bucket + 1 == counts_.size()) break;
    return std::min(absl::Nanoseconds(static_cast<int64_t>(LargestOf(bucket))), max_);
  }
  return max_;
}

}  // namespace jobpool::cli
