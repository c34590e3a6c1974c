#pragma once

#include <memory>

#include <grpcpp/security/server_credentials.h>

#include "server/tls/certificate_files.h"

namespace jobpool {

/// TLS for gRPC's server: each connection that comes is shown the identity that is
/// current then. `certificates` is loaded, and outlives the server, as the
/// credentials do: the builder does not keep them. Clients need a certificate if there
/// is a client CA.
std::shared_ptr<grpc::ServerCredentials> TlsCredentials(const CertificateFiles& certificates);

}  // namespace jobpool
