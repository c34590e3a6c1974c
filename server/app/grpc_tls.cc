#include "server/app/grpc_tls.h"

#include <grpc/grpc.h>
#include <grpc/grpc_security.h>

#include "server/base/mutex.h"

namespace jobpool {
namespace {

// On gRPC's core API: the C++ one can only watch files by itself, without checking what it reads, so that a
// certificate would be used before its key has followed.
class ReloadingCredentials final : public grpc::ServerCredentials {
 public:
  explicit ReloadingCredentials(const CertificateFiles& certificates) : certificates_(certificates) {
    const bool clients_too = !certificates.paths().client_ca.empty();
    credentials_ = grpc_ssl_server_credentials_create_with_options(
        grpc_ssl_server_credentials_create_options_using_config_fetcher(
            clients_too ? GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY
                        : GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE,
            &ReloadingCredentials::Fetch, this));
  }
  ~ReloadingCredentials() override { grpc_server_credentials_release(credentials_); }

  void SetAuthMetadataProcessor(const std::shared_ptr<grpc::AuthMetadataProcessor>&) override {}

 private:
  int AddPortToServer(const std::string& address, grpc_server* server) override {
    return grpc_server_add_http2_port(server, address.c_str(), credentials_);
  }

  // gRPC asks before each handshake.
  static grpc_ssl_certificate_config_reload_status Fetch(void* self,
                                                         grpc_ssl_server_certificate_config** config) {
    return static_cast<ReloadingCredentials*>(self)->Fetch(config);
  }

  grpc_ssl_certificate_config_reload_status Fetch(grpc_ssl_server_certificate_config** config) {
    const std::shared_ptr<const Identity> identity = certificates_.Current();
    MutexLock lock(mu_);
    if (identity->version == fetched_version_) return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_UNCHANGED;
    grpc_ssl_pem_key_cert_pair pair = {identity->pem_key.c_str(), identity->pem_chain.c_str()};
    // gRPC insists on some authorities (an assertion in SslServerSecurityConnector), also where it asks
    // clients for no certificate and never looks at them: then our own chain serves.
    const std::string& client_ca =
        identity->pem_client_ca.empty() ? identity->pem_chain : identity->pem_client_ca;
    *config = grpc_ssl_server_certificate_config_create(client_ca.c_str(), &pair, 1);
    fetched_version_ = identity->version;
    return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_NEW;
  }

  const CertificateFiles& certificates_;
  grpc_server_credentials* credentials_ = nullptr;

  Mutex mu_;
  uint64_t fetched_version_ ABSL_GUARDED_BY(mu_) = 0;
};

}  // namespace

std::shared_ptr<grpc::ServerCredentials> TlsCredentials(const CertificateFiles& certificates) {
  return std::make_shared<ReloadingCredentials>(certificates);
}

}  // namespace jobpool
