#include "client/jobpool/tls.h"

#include <cerrno>
#include <cstdio>
#include <memory>
#include <string>

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "absl/strings/str_cat.h"

// gRPC takes anything for a certificate, and a connection then fails without a
// word on why: so what the files hold is looked at first.

namespace jobpool {
namespace {

// A bundle of all public authorities takes a fifth of a mebibyte.
constexpr size_t kMaxFileBytes = 4 << 20;

template <auto kFree>
struct FreeWith {
  template <typename T>
  void operator()(T* object) const {
    kFree(object);
  }
};
using Bio = std::unique_ptr<BIO, FreeWith<BIO_free>>;
using Certificate = std::unique_ptr<X509, FreeWith<X509_free>>;
using Key = std::unique_ptr<EVP_PKEY, FreeWith<EVP_PKEY_free>>;

absl::StatusOr<std::string> ReadFile(const std::string& path) {
  const std::unique_ptr<std::FILE, FreeWith<std::fclose>> file(std::fopen(path.c_str(), "re"));
  std::string content(kMaxFileBytes + 1, '\0');
  if (file != nullptr) content.resize(std::fread(content.data(), 1, content.size(), file.get()));
  if (file == nullptr || std::ferror(file.get()) != 0) {
    const int error = errno;
    return absl::InvalidArgumentError(
        absl::ErrnoToStatus(error, absl::StrCat("cannot read ", path)).message());
  }
  if (content.size() > kMaxFileBytes) return absl::InvalidArgumentError(absl::StrCat(path, " is too large"));
  return content;
}

Bio Open(const std::string& pem) { return Bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size()))); }

absl::StatusOr<Certificate> ParseCertificate(const std::string& pem, const std::string& path) {
  Certificate certificate(PEM_read_bio_X509(Open(pem).get(), nullptr, nullptr, nullptr));
  ERR_clear_error();
  if (certificate != nullptr) return certificate;
  return absl::InvalidArgumentError(absl::StrCat(path, " holds no certificate in PEM form"));
}

/// For OpenSSL, which would ask on the terminal.
int NoPassword(char*, int, int, void*) { return -1; }

absl::StatusOr<Key> ParseKey(const std::string& pem, const std::string& path) {
  Key key(PEM_read_bio_PrivateKey(Open(pem).get(), nullptr, NoPassword, nullptr));
  ERR_clear_error();
  if (key != nullptr) return key;
  return absl::InvalidArgumentError(
      absl::StrCat(path, " holds no private key in PEM form without a password"));
}

}  // namespace

absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> MakeCredentials(const TlsFiles& files) {
  if (!files.any()) return grpc::InsecureChannelCredentials();
  grpc::SslCredentialsOptions options;
  if (!files.ca.empty()) {
    absl::StatusOr<std::string> pem = ReadFile(files.ca);
    if (!pem.ok()) return pem.status();
    if (const auto ca = ParseCertificate(*pem, files.ca); !ca.ok()) return ca.status();
    options.pem_root_certs = *std::move(pem);
  }
  if (files.cert.empty() != files.key.empty()) {
    return absl::InvalidArgumentError("a TLS certificate and its key are needed together");
  }
  if (!files.cert.empty()) {
    absl::StatusOr<std::string> cert_pem = ReadFile(files.cert);
    if (!cert_pem.ok()) return cert_pem.status();
    absl::StatusOr<std::string> key_pem = ReadFile(files.key);
    if (!key_pem.ok()) return key_pem.status();
    const auto cert = ParseCertificate(*cert_pem, files.cert);
    if (!cert.ok()) return cert.status();
    const auto key = ParseKey(*key_pem, files.key);
    if (!key.ok()) return key.status();
    const bool fits = X509_check_private_key(cert->get(), key->get()) == 1;
    ERR_clear_error();
    if (!fits) {
      return absl::InvalidArgumentError(absl::StrCat(files.key, " is not the key of ", files.cert));
    }
    options.pem_cert_chain = *std::move(cert_pem);
    options.pem_private_key = *std::move(key_pem);
  }
  return grpc::SslCredentials(options);
}

}  // namespace jobpool
