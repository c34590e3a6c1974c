#pragma once

#include <memory>
#include <string>
#include <vector>

#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server.h>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "server/base/listen_address.h"
#include "server/tls/certificate_files.h"

namespace jobpool {

struct GrpcOptions {
  int max_message_bytes = 16 << 20;
  bool channelz = false;
  /// Null: without TLS. Outlives the server.
  const CertificateFiles* certificates = nullptr;
};

/// The gRPC server with its port. Not thread-safe but for Stop.
class GrpcServer {
 public:
  ~GrpcServer();

  /// Listens and serves `services` from now on, which outlive it. UNAVAILABLE:
  /// the address cannot be had.
  absl::Status Start(const ListenAddress& address, const std::vector<grpc::Service*>& services,
                     const GrpcOptions& options);

  /// Takes no more calls, waits for the open ones until `grace` has passed, then
  /// ends them. Idempotent.
  void Stop(absl::Duration grace);

  int port() const { return port_; }

 private:
  absl::Status LockSocket(const std::string& path);

  int port_ = 0;
  int socket_lock_ = -1;  // descriptor of PATH.lock, held while we serve on PATH
  std::shared_ptr<grpc::ServerCredentials> credentials_;  // asked at each handshake, so it outlives server_
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace jobpool
