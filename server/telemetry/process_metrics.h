#pragma once

#include <vector>

#include <prometheus/collectable.h>
#include <prometheus/metric_family.h>

namespace jobpool {

/// The standard `process_*` metrics, read from /proc/self at each scrape.
/// Thread-safe.
class ProcessMetrics final : public prometheus::Collectable {
 public:
  std::vector<prometheus::MetricFamily> Collect() const override;
};

/// One family of one gauge or counter series without labels; what collectors
/// of single values are made of.
prometheus::MetricFamily SingleMetric(const char* name, const char* help, prometheus::MetricType type,
                                      double value);

}  // namespace jobpool
