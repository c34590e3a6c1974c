#pragma once

#include <memory>
#include <string>
#include <vector>

#include <openssl/evp.h>
#include <openssl/x509.h>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace jobpool {

struct OpensslDeleter {
  void operator()(X509* certificate) const { X509_free(certificate); }
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
};
using CertificatePtr = std::unique_ptr<X509, OpensslDeleter>;
using PrivateKeyPtr = std::unique_ptr<EVP_PKEY, OpensslDeleter>;

/// All certificates of a PEM text, in its order; other blocks are passed over.
/// INVALID_ARGUMENT: there is none, or one is damaged.
absl::StatusOr<std::vector<CertificatePtr>> ParseCertificates(absl::string_view pem);

/// The private key of a PEM text. INVALID_ARGUMENT: there is none, it is damaged,
/// or protected by a password, which nobody is asked for.
absl::StatusOr<PrivateKeyPtr> ParsePrivateKey(absl::string_view pem);

/// What OpenSSL found wrong last on this thread, in its words; forgets it, since
/// what is left behind would be taken for a fault of the next connection.
std::string TakeOpensslError();

}  // namespace jobpool
