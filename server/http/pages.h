#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace prometheus {
class Collectable;
}

namespace jobpool {

/// An answer, before it is put into HTTP.
struct Page {
  unsigned status = 200;
  std::string body;
  std::string content_type = "text/plain; charset=utf-8";
  std::string allow{};        // the header Allow; empty: without
  std::string retry_after{};  // the header Retry-After; empty: without
};

/// What there is to see: `/metrics`, `/healthz` (the process lives) and `/readyz`
/// (it takes jobs). Thread-safe.
class Pages {
 public:
  using Metrics = std::vector<std::shared_ptr<prometheus::Collectable>>;

  explicit Pages(Metrics metrics) : metrics_(std::move(metrics)) {}

  void SetReady(bool ready) { ready_.store(ready); }

  /// The answer to a request. `target` as in its first line, a query included,
  /// which nothing here reads. Quick unless it is a scrape.
  Page Show(absl::string_view method, absl::string_view target) const;

  /// Whether Show collects metrics for it, which may take long.
  static bool IsScrape(absl::string_view method, absl::string_view target);

 private:
  Page Scrape() const;

  const Metrics metrics_;
  std::atomic<bool> ready_{false};
};

}  // namespace jobpool
