#include "server/app/store_gauges.h"

#include <utility>

#include "server/telemetry/process_metrics.h"

namespace jobpool {

std::vector<prometheus::MetricFamily> StoreGauges::Collect() const {
  using prometheus::MetricType;
  if (store_ == nullptr) return {};
  const SqliteStats stats = store_->Stats();
  prometheus::MetricFamily jobs;
  jobs.name = "jobpool_store_jobs";
  jobs.help = "Jobs that the store's file holds.";
  jobs.type = MetricType::Gauge;
  for (const auto& [state, count] :
       {std::make_pair("live", stats.live_jobs), std::make_pair("ended", stats.ended_jobs)}) {
    prometheus::ClientMetric metric;
    metric.label.push_back({"state", state});
    metric.gauge.value = static_cast<double>(count);
    jobs.metric.push_back(std::move(metric));
  }
  return {
      SingleMetric("jobpool_store_file_bytes",
                   "Size of the store's file, with what is still in its log alone.", MetricType::Gauge,
                   static_cast<double>(stats.file_bytes)),
      SingleMetric("jobpool_store_wal_bytes", "Size of the store's log.", MetricType::Gauge,
                   static_cast<double>(stats.wal_bytes)),
      SingleMetric("jobpool_store_free_bytes", "Of the store's file, what is free for jobs to come.",
                   MetricType::Gauge, static_cast<double>(stats.free_bytes)),
      std::move(jobs),
      SingleMetric("jobpool_store_damaged", "1: the store's file was found to be damaged.", MetricType::Gauge,
                   store_->damaged()),
  };
}

}  // namespace jobpool
