#pragma once

#include <cstdint>
#include <vector>

#include "absl/time/time.h"

namespace jobpool::cli {

/// How often each duration was recorded, by buckets: as in HdrHistogram (Gil Tene,
/// hdrhistogram.org) each power of two of nanoseconds is cut into equally wide ones, 1,024 of them, so that
/// a value is known to 0.1% whatever its size, in 300 KiB however many there are. From 0 to 19
/// hours; what is longer counts as that, but for Max. Not thread-safe.
class LatencyHistogram {
 public:
  LatencyHistogram();

  /// A negative one counts as 0.
  void Record(absl::Duration value);

  int64_t count() const { return count_; }

  // Of what was recorded; REQUIRES: count() > 0.

  /// Exact.
  absl::Duration Min() const { return min_; }
  absl::Duration Max() const { return max_; }
  absl::Duration Mean() const { return sum_ / count_; }
  /// The smallest duration that `percent` (0 to 100) of them do not exceed, or at most 0.1% more.
  absl::Duration Percentile(double percent) const;

 private:
  std::vector<int64_t> counts_;  // by bucket
  int64_t count_ = 0;
  absl::Duration sum_;
  absl::Duration min_ = absl::InfiniteDuration();
  absl::Duration max_ = absl::ZeroDuration();
};

}  // namespace jobpool::cli
