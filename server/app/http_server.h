#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "server/app/config.h"
#include "server/workers/service_pool.h"
#include "server/workers/thread_registry.h"

namespace httplib {
class Server;
}
namespace prometheus {
class Collectable;
}

namespace jobpool {

/// Serves `/metrics`, `/healthz` (the process lives) and `/readyz` (it takes
/// jobs) on registered threads. Thread-safe.
class HttpServer {
 public:
  /// What a scrape collects, in this order.
  using Metrics = std::vector<std::shared_ptr<prometheus::Collectable>>;

  /// `registry` outlives it.
  HttpServer(ThreadRegistry& registry, Metrics metrics);
  ~HttpServer();

  /// Listens and serves from now on. UNAVAILABLE: the address cannot be had.
  absl::Status Start(const ListenAddress& address);

  void SetReady(bool ready) { ready_.store(ready); }

  /// Ends the connections. Idempotent.
  void Stop();

  int port() const { return port_; }

 private:
  ThreadRegistry& registry_;
  const Metrics metrics_;
  std::atomic<bool> ready_{false};
  std::atomic<bool> ended_{false};  // the listener serves no more
  int port_ = 0;
  std::unique_ptr<httplib::Server> server_;
  std::thread listener_;
};

}  // namespace jobpool
