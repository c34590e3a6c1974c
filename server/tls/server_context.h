#pragma once

#include <memory>

#include <openssl/ssl.h>

#include "absl/status/statusor.h"
#include "server/tls/certificate_files.h"

namespace jobpool {

struct SslContextDeleter {
  void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
};
using SslContextPtr = std::unique_ptr<SSL_CTX, SslContextDeleter>;

/// What a server's TLS connections are made from: `identity`, TLS 1.2 or later,
/// no renegotiation; if there is a client CA, a client must show a certificate of
/// it. INVALID_ARGUMENT: OpenSSL takes no such certificate (a key too short, say).
absl::StatusOr<SslContextPtr> NewServerContext(const Identity& identity);

}  // namespace jobpool
