#pragma once

#include <cstddef>

#include "absl/time/time.h"

namespace prometheus {
class Counter;
class Gauge;
class Histogram;
class Registry;
}  // namespace prometheus

namespace jobpool {

/// What the store does and how it is. Every series exists from construction.
/// Thread-safe.
class StoreMetrics {
 public:
  explicit StoreMetrics(prometheus::Registry& registry);

  /// So many records of jobs were kept by one commit.
  void Committed(size_t jobs, absl::Duration took);
  /// A commit has failed, or a look whether the store can be written.
  void Failed();
  void SetWritable(bool writable);

 private:
  prometheus::Histogram& duration_;
  prometheus::Histogram& size_;
  prometheus::Counter& failures_;
  prometheus::Gauge& writable_;
};

}  // namespace jobpool
