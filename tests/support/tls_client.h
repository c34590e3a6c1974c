#pragma once

#include <memory>
#include <string>

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "server/tls/pem.h"
#include "server/tls/server_context.h"
#include "tests/support/raw_client.h"
#include "tests/support/test_authority.h"

namespace jobpool {

/// What OpenSSL's own client came to see.
struct TlsAnswer {
  std::string certificate;  // the CN of the server's, if it is trusted and the handshake was done
  std::string version;      // such as TLSv1.3
  std::string text;         // all that came until the server closed
};

/// Asks the port of 127.0.0.1 once. Trusts what `authority` issued; shows `mine`
/// if it is not null; speaks `version` at most.
inline TlsAnswer AskOverTls(int port, const TestAuthority& authority, const std::string& request,
                            const TestCertificate* mine = nullptr, int version = TLS1_3_VERSION) {
  TlsAnswer answer;
  const SslContextPtr context(SSL_CTX_new(TLS_client_method()));
  SSL_CTX_set_max_proto_version(context.get(), version);
  SSL_CTX_set_min_proto_version(context.get(), TLS1_VERSION);
  SSL_CTX_set_security_level(context.get(), 0);  // or it would not even offer TLS 1.1
  SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER, nullptr);
  const auto trusted = ParseCertificates(authority.pem());
  X509_STORE_add_cert(SSL_CTX_get_cert_store(context.get()), trusted->front().get());
  if (mine != nullptr) {
    SSL_CTX_use_certificate(context.get(), ParseCertificates(mine->pem)->front().get());
    SSL_CTX_use_PrivateKey(context.get(), ParsePrivateKey(mine->pem_key)->get());
  }
  const RawClient socket(port);
  const std::unique_ptr<SSL, void (*)(SSL*)> ssl(SSL_new(context.get()), SSL_free);
  SSL_set_fd(ssl.get(), socket.descriptor());
  if (SSL_connect(ssl.get()) == 1) {
    const CertificatePtr shown(SSL_get1_peer_certificate(ssl.get()));
    char name[256] = "";
    X509_NAME_get_text_by_NID(X509_get_subject_name(shown.get()), NID_commonName, name, sizeof(name));
    answer.certificate = name;
    answer.version = SSL_get_version(ssl.get());
    SSL_write(ssl.get(), request.data(), static_cast<int>(request.size()));
    char data[4096];
    for (int count = 0; (count = SSL_read(ssl.get(), data, sizeof(data))) > 0;) {
      answer.text.append(data, static_cast<size_t>(count));
    }
  }
  ERR_clear_error();
  return answer;
}

}  // namespace jobpool
