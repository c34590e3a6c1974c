#pragma once

#include <vector>

#include <prometheus/collectable.h>
#include <prometheus/metric_family.h>

#include "server/store/sqlite_store.h"

namespace jobpool {

/// The metrics that say how the store's file stands. Read at each scrape, which does not
/// wait for the disk. Thread-safe.
class StoreGauges final : public prometheus::Collectable {
 public:
  /// `store` outlives it; null: there is none, and no metrics.
  explicit StoreGauges(const SqliteStore* store) : store_(store) {}

  std::vector<prometheus::MetricFamily> Collect() const override;

 private:
  const SqliteStore* const store_;
};

}  // namespace jobpool
