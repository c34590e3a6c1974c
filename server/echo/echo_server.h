#pragma once

#include <list>
#include <string>
#include <thread>

#include "absl/status/status.h"
#include "server/base/event.h"
#include "server/base/mutex.h"
#include "server/workers/thread_registry.h"

namespace jobpool {

/// Connections at a time; the next is accepted and closed at once.
inline constexpr int kMaxEchoConnections = 256;

/// The plain TCP listener: what a client sends comes back at once in upper case
/// (ServeEcho), on a thread of role CONNECTION for each connection, which is in
/// roll call for as long as the connection lasts. A client that sends and does
/// not read costs that thread and its buffers; one that has vanished, or has not
/// read for as long, is dropped after a minute and a half. Made, listening,
/// stopped and destroyed by one thread.
class EchoServer {
 public:
  /// `registry` outlives it.
  explicit EchoServer(ThreadRegistry& registry) : registry_(registry) {}
  ~EchoServer();
  EchoServer(const EchoServer&) = delete;
  EchoServer& operator=(const EchoServer&) = delete;

  /// Takes the address: `host` is an IP address without brackets, `port` 0 means
  /// any that is free. Nobody is served yet. UNAVAILABLE: it cannot be had; then
  /// nothing is left. Called once.
  absl::Status Listen(const std::string& host, int port);

  /// Serves from now on. UNAVAILABLE: no thread to be had. REQUIRES: it listens.
  absl::Status Serve();

  /// The port that Listen took.
  int port() const { return port_; }

  /// Takes no more connections, and gives the address back; those that are there
  /// go on. Idempotent.
  void StopAccepting();

  /// That, and ends the connections at once. Idempotent.
  void Stop();

 private:
  using Threads = std::list<std::thread>;

  void Accept();
  void Admit(int socket);
  void ServeConnection(int socket, Threads::iterator self);

  ThreadRegistry& registry_;

  // Of the owner's thread; constant while the acceptor runs.
  int listener_ = -1;
  int port_ = 0;
  std::thread acceptor_;

  Event stop_accepting_;
  Event stop_;

  Mutex mu_;
  CondVar ended_cv_;
  Threads connections_ ABSL_GUARDED_BY(mu_);
  Threads ended_ ABSL_GUARDED_BY(mu_);  // at most one, but at the end: to be joined
};

}  // namespace jobpool
