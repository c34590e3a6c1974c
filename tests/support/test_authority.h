#pragma once

#include <memory>
#include <string>

#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "server/tls/pem.h"

namespace jobpool {

/// A certificate with its key.
struct TestCertificate {
  std::string pem;
  std::string pem_key;
};

inline std::string TakePem(BIO* bio) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  std::string pem(data, static_cast<size_t>(size));
  BIO_free(bio);
  return pem;
}

/// As PEM; protected if there is a password.
inline std::string KeyToPem(EVP_PKEY* key, std::string password = "") {
  BIO* bio = BIO_new(BIO_s_mem());
  PEM_write_bio_PKCS8PrivateKey(bio, key, password.empty() ? nullptr : EVP_aes_128_cbc(), password.data(),
                                static_cast<int>(password.size()), nullptr, nullptr);
  return TakePem(bio);
}

/// Issues certificates for tests. Real ones, of elliptic curves: quick to make.
class TestAuthority {
 public:
  /// Signed by itself, or by `parent`.
  explicit TestAuthority(const std::string& name, const TestAuthority* parent = nullptr)
      : key_(EVP_EC_gen("P-256")), certificate_(X509_new()) {
    const TestAuthority& issuer = parent == nullptr ? *this : *parent;
    Fill(certificate_.get(), name, key_.get());
    Extend(certificate_.get(), NID_basic_constraints, "critical,CA:TRUE");
    SetTimes(certificate_.get(), absl::Now() - absl::Hours(48), absl::Now() + absl::Hours(48));
    X509_set_issuer_name(certificate_.get(), X509_get_subject_name(issuer.certificate_.get()));
    X509_sign(certificate_.get(), issuer.key_.get(), EVP_sha256());
  }

  std::string pem() const { return ToPem(certificate_.get()); }

  /// For the server (or client) `name`, at 127.0.0.1.
  TestCertificate Issue(const std::string& name, absl::Time not_before = absl::Now() - absl::Hours(1),
                        absl::Time not_after = absl::Now() + absl::Hours(1)) const {
    return IssueFor(PrivateKeyPtr(EVP_EC_gen("P-256")).get(), name, not_before, not_after);
  }

  TestCertificate IssueFor(EVP_PKEY* key, const std::string& name,
                           absl::Time not_before = absl::Now() - absl::Hours(1),
                           absl::Time not_after = absl::Now() + absl::Hours(1)) const {
    const CertificatePtr leaf(X509_new());
    Fill(leaf.get(), name, key);
    Extend(leaf.get(), NID_subject_alt_name, "IP:127.0.0.1,DNS:localhost");
    SetTimes(leaf.get(), not_before, not_after);
    X509_set_issuer_name(leaf.get(), X509_get_subject_name(certificate_.get()));
    X509_sign(leaf.get(), key_.get(), EVP_sha256());
    return {ToPem(leaf.get()), KeyToPem(key)};
  }

 private:
  static void Fill(X509* certificate, const std::string& name, EVP_PKEY* key) {
    static long serial = 0;
    X509_set_version(certificate, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(certificate), ++serial);
    X509_set_pubkey(certificate, key);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "CN", MBSTRING_UTF8,
                               reinterpret_cast<const unsigned char*>(name.c_str()), -1, -1, 0);
  }

  static void Extend(X509* certificate, int nid, const char* value) {
    X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, nullptr, nid, value);
    X509_add_ext(certificate, extension, -1);
    X509_EXTENSION_free(extension);
  }

  static void SetTimes(X509* certificate, absl::Time not_before, absl::Time not_after) {
    ASN1_TIME_set(X509_getm_notBefore(certificate), absl::ToTimeT(not_before));
    ASN1_TIME_set(X509_getm_notAfter(certificate), absl::ToTimeT(not_after));
  }

  static std::string ToPem(X509* certificate) {
    BIO* bio = BIO_new(BIO_s_mem());
    PEM_write_bio_X509(bio, certificate);
    return TakePem(bio);
  }

  const PrivateKeyPtr key_;
  const CertificatePtr certificate_;
};

}  // namespace jobpool
