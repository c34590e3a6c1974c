#include "server/tls/server_context.h"

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/base/status_macros.h"
#include "server/tls/pem.h"

namespace jobpool {
namespace {

absl::Status Refused() {
  return absl::InvalidArgumentError(absl::StrCat("OpenSSL refuses it: ", TakeOpensslError()));
}

absl::Status RequireClientsOf(SSL_CTX* context, absl::string_view pem_client_ca) {
  JOBPOOL_ASSIGN_OR_RETURN(const std::vector<CertificatePtr> authorities, ParseCertificates(pem_client_ca));
  for (const CertificatePtr& authority : authorities) {
    if (X509_STORE_add_cert(SSL_CTX_get_cert_store(context), authority.get()) != 1 ||
        SSL_CTX_add_client_CA(context, authority.get()) != 1) {
      return Refused();
    }
  }
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  // Without it a client that resumes its session is refused (SSL_CTX_set_session_id_context(3)).
  constexpr unsigned char kSessions[] = "jobpool";
  SSL_CTX_set_session_id_context(context, kSessions, sizeof(kSessions) - 1);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<SslContextPtr> NewServerContext(const Identity& identity) {
  JOBPOOL_ASSIGN_OR_RETURN(const std::vector<CertificatePtr> chain, ParseCertificates(identity.pem_chain));
  JOBPOOL_ASSIGN_OR_RETURN(const PrivateKeyPtr key, ParsePrivateKey(identity.pem_key));
  SslContextPtr context(SSL_CTX_new(TLS_server_method()));
  if (context == nullptr || SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION) != 1 ||
      SSL_CTX_use_certificate(context.get(), chain[0].get()) != 1 ||
      SSL_CTX_use_PrivateKey(context.get(), key.get()) != 1) {
    return Refused();
  }
  for (size_t i = 1; i < chain.size(); ++i) {
    if (SSL_CTX_add1_chain_cert(context.get(), chain[i].get()) != 1) return Refused();
  }
  SSL_CTX_set_options(context.get(), SSL_OP_NO_RENEGOTIATION);
  // A connection that waits keeps no buffers of 32 KiB.
  SSL_CTX_set_mode(context.get(), SSL_MODE_RELEASE_BUFFERS);
  if (!identity.pem_client_ca.empty()) {
    JOBPOOL_RETURN_IF_ERROR(RequireClientsOf(context.get(), identity.pem_client_ca));
  }
  return context;
}

}  // namespace jobpool
