#pragma once

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include <prometheus/collectable.h>
#include <prometheus/metric_family.h>

namespace jobpool {

/// What a scrape of `source` shows of the series of `name` that have all of
/// `labels`.
inline std::vector<prometheus::ClientMetric> FindSeries(const prometheus::Collectable& source,
                                                        const std::string& name,
                                                        const std::map<std::string, std::string>& labels) {
  std::vector<prometheus::ClientMetric> found;
  for (const prometheus::MetricFamily& family : source.Collect()) {
    if (family.name != name) continue;
    for (const prometheus::ClientMetric& metric : family.metric) {
      const auto has = [&](const auto& wanted) {
        return std::any_of(metric.label.begin(), metric.label.end(), [&](const auto& label) {
          return label.name == wanted.first && label.value == wanted.second;
        });
      };
      if (std::all_of(labels.begin(), labels.end(), has)) found.push_back(metric);
    }
  }
  return found;
}

/// The sum of those series: of counters and gauges their values, of histograms
/// how often something was observed. -1: there is no such series.
inline double SumOfSeries(const prometheus::Collectable& source, const std::string& name,
                          const std::map<std::string, std::string>& labels = {}) {
  const auto found = FindSeries(source, name, labels);
  if (found.empty()) return -1;
  double sum = 0;
  for (const prometheus::ClientMetric& metric : found) {
    sum += metric.counter.value + metric.gauge.value + static_cast<double>(metric.histogram.sample_count);
  }
  return sum;
}

}  // namespace jobpool
