#include "server/tls/pem.h"

#include <utility>

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>

#include "absl/strings/str_cat.h"

namespace jobpool {
namespace {

struct BioDeleter {
  void operator()(BIO* bio) const { BIO_free(bio); }
};

std::unique_ptr<BIO, BioDeleter> Reader(absl::string_view pem) {
  return std::unique_ptr<BIO, BioDeleter>(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
}

// In place of OpenSSL's own, which prompts on the terminal.
int RefusePassword(char*, int, int, void* asked) {
  *static_cast<bool*>(asked) = true;
  return -1;
}

bool AtEnd() {
  const unsigned long error = ERR_peek_last_error();
  return ERR_GET_LIB(error) == ERR_LIB_PEM && ERR_GET_REASON(error) == PEM_R_NO_START_LINE;
}

}  // namespace

std::string TakeOpensslError() {
  const char* reason = ERR_reason_error_string(ERR_peek_last_error());
  ERR_clear_error();
  return reason == nullptr ? "unknown fault" : reason;
}

absl::StatusOr<std::vector<CertificatePtr>> ParseCertificates(absl::string_view pem) {
  const auto reader = Reader(pem);
  std::vector<CertificatePtr> certificates;
  ERR_clear_error();
  bool asked = false;
  while (CertificatePtr next{PEM_read_bio_X509(reader.get(), nullptr, RefusePassword, &asked)}) {
    certificates.push_back(std::move(next));
  }
  if (!AtEnd()) {
    return absl::InvalidArgumentError(
        absl::StrCat("certificate ", certificates.size() + 1, " is damaged: ", TakeOpensslError()));
  }
  ERR_clear_error();
  if (certificates.empty()) return absl::InvalidArgumentError("holds no certificate in PEM form");
  return certificates;
}

absl::StatusOr<PrivateKeyPtr> ParsePrivateKey(absl::string_view pem) {
  const auto reader = Reader(pem);
  ERR_clear_error();
  bool asked = false;
  PrivateKeyPtr key{PEM_read_bio_PrivateKey(reader.get(), nullptr, RefusePassword, &asked)};
  if (key != nullptr) return key;
  ERR_clear_error();
  if (asked)
    return absl::InvalidArgumentError("the private key is protected by a password; give one without");
  // OpenSSL 3 tells no key from a damaged one: "unsupported" is what it calls both.
  return absl::InvalidArgumentError("holds no intact private key in PEM form");
}

}  // namespace jobpool
