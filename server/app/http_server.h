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

  /// Ends the connections, waiting for `grace` at most: a client that trickles
  /// can hold its thread for longer. Returns whether all have ended. Idempotent.
  bool Stop(absl::Duration grace);

  int port() const { return port_; }

 private:
  ThreadRegistry& registry_;
  const Metrics metrics_;
  std::atomic<bool> ready_{false};
  int port_ = 0;
  std::unique_ptr<httplib::Server> server_;
  Mutex mu_;
  CondVar ended_cv_;
  bool ended_ ABSL_GUARDED_BY(mu_) = false;  // the listener and all that served
  std::thread listener_;
};

}  // namespace jobpool
