#pragma once

#include <cstddef>
#include <memory>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "server/base/listen_address.h"
#include "server/http/pages.h"
#include "server/tls/certificate_files.h"
#include "server/workers/thread_registry.h"

namespace jobpool {

/// What clients may cost at most. Beyond, they are refused or cut off.
struct HttpLimits {
  int max_connections = 256;  // the next is closed at once
  /// Answers to scrapes that are being made or written; the next are answered 503.
  int max_scrapes = 8;
  size_t max_header_bytes = 16 << 10;
  size_t max_body_bytes = 64 << 10;                   // which is read, and not looked at
  absl::Duration handshake_time = absl::Seconds(10);  // of TLS
  absl::Duration idle_time = absl::Seconds(5);        // before a request's first byte
  absl::Duration request_time = absl::Seconds(10);    // from its first byte to its last
  absl::Duration response_time = absl::Seconds(30);   // to write it
};

/// Serves Pages over HTTP/1.1 and 1.0 on two threads of role SERVICE, whatever
/// clients do. Made, started, stopped and destroyed by one thread.
class HttpServer {
 public:
  using Metrics = Pages::Metrics;

  /// `registry` outlives it. A scrape collects `metrics` in their order.
  HttpServer(ThreadRegistry& registry, Metrics metrics, HttpLimits limits = {});
  ~HttpServer();

  /// Listens and serves from now on, over TLS if there are `certificates`: loaded,
  /// and outliving it; a connection that comes is shown the current one. UNAVAILABLE:
  /// the address cannot be had; INVALID_ARGUMENT: it is a unix socket. REQUIRES:
  /// called once.
  absl::Status Start(const ListenAddress& address, const CertificateFiles* certificates = nullptr);

  /// Thread-safe.
  void SetReady(bool ready) { pages_.SetReady(ready); }

  /// Takes no more connections and requests, lets answers that have begun get out
  /// for `grace` at most, then closes all. Idempotent.
  void Stop(absl::Duration grace);

  int port() const { return port_; }

 private:
  class Listener;

  ThreadRegistry& registry_;
  const HttpLimits limits_;
  Pages pages_;
  int port_ = 0;
  std::unique_ptr<Listener> listener_;
};

}  // namespace jobpool
