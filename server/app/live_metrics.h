#pragma once

#include <atomic>
#include <vector>

#include <prometheus/collectable.h>
#include <prometheus/metric_family.h>

#include "server/pipeline/pool_set.h"
#include "server/workers/process_pool.h"
#include "server/workers/thread_registry.h"

namespace jobpool {

/// The metrics that say how things stand: threads, from one snapshot of the
/// registry, pools, and child processes. Read at each scrape. Thread-safe.
class LiveMetrics final : public prometheus::Collectable {
 public:
  /// All outlive it.
  LiveMetrics(const ThreadRegistry& registry, const PoolSet& pools, const ProcessPool& processes)
      : registry_(registry), pools_(pools), processes_(processes) {}

  void SetDraining() { draining_.store(true); }

  std::vector<prometheus::MetricFamily> Collect() const override;

 private:
  const ThreadRegistry& registry_;
  const PoolSet& pools_;
  const ProcessPool& processes_;
  std::atomic<bool> draining_{false};
};

}  // namespace jobpool
