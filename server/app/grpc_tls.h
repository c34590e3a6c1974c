#pragma once

#include <memory>

#include <grpcpp/security/server_credentials.h>

#include "server/tls/certificate_files.h"

namespace jobpool {

/// TLS for gRPC's server: each connection that comes is shown the identity that is
/// current then. `certificates` is loaded, and outlives the server; so must what is
/// returned, which gRPC's core asks at each handshake without owning it. Clients
/// need a certificate if there is a client CA.
std::shared_ptr<grpc::ServerCredentials> TlsCredentials(const CertificateFiles& certificates);

}  // namespace jobpool
