#include "server/app/reload_metrics.h"

#include <utility>

#include <prometheus/metric_family.h>

namespace jobpool {

ReloadMetrics::ReloadMetrics(prometheus::Registry& registry)
    : successful_(prometheus::BuildGauge()
                      .Name("jobpool_config_last_reload_successful")
                      .Help("Whether the files were taken over when they were last read on request.")
                      .Register(registry)
                      .Add({})),
      success_time_(prometheus::BuildGauge()
                        .Name("jobpool_config_last_reload_success_timestamp_seconds")
                        .Help("When the files were last taken over.")
                        .Register(registry)
                        .Add({})) {
  Reloaded(true);
}

void ReloadMetrics::Reloaded(bool successful) {
  successful_.Set(successful);
  if (successful) success_time_.SetToCurrentTime();
}

std::vector<prometheus::MetricFamily> CertificateMetrics::Collect() const {
  prometheus::MetricFamily expiry;
  expiry.name = "jobpool_tls_certificate_expiry_timestamp_seconds";
  expiry.help = "When the certificate that the listener shows ends to be valid.";
  expiry.type = prometheus::MetricType::Gauge;
  for (const auto& [listener, certificates] :
       {std::pair("grpc", files_.grpc_certificates()), std::pair("http", files_.http_certificates())}) {
    if (certificates == nullptr) continue;
    prometheus::ClientMetric metric;
    metric.label.push_back({"listener", listener});
    metric.gauge.value = absl::ToDoubleSeconds(certificates->Current()->not_after - absl::UnixEpoch());
    expiry.metric.push_back(std::move(metric));
  }
  if (expiry.metric.empty()) return {};
  return {std::move(expiry)};
}

}  // namespace jobpool
