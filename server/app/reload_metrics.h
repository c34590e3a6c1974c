#pragma once

#include <prometheus/collectable.h>
#include <prometheus/gauge.h>
#include <prometheus/registry.h>

#include "server/app/files.h"

namespace jobpool {

/// How the reading of files went, and when the certificates end. Thread-safe.
class ReloadMetrics {
 public:
  /// The files were read just now.
  explicit ReloadMetrics(prometheus::Registry& registry);

  void Reloaded(bool successful);

 private:
  prometheus::Gauge& successful_;
  prometheus::Gauge& success_time_;
};

/// `jobpool_tls_certificate_expiry_timestamp_seconds` of each listener with TLS,
/// read at each scrape. Thread-safe.
class CertificateMetrics final : public prometheus::Collectable {
 public:
  /// Outlives it.
  explicit CertificateMetrics(const Files& files) : files_(files) {}

  std::vector<prometheus::MetricFamily> Collect() const override;

 private:
  const Files& files_;
};

}  // namespace jobpool
