#include "server/tls/certificate_files.h"

#include <algorithm>
#include <cerrno>
#include <ctime>
#include <fcntl.h>
#include <unistd.h>
#include <utility>

#include <openssl/x509v3.h>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "server/base/status_macros.h"
#include "server/tls/pem.h"
#include "server/tls/server_context.h"

namespace jobpool {
namespace {

constexpr size_t kMaxFileBytes = 1 << 20;
// A file that is written twice within a tick of the kernel's clock (at most 10 ms), or a few where it lies
// on another machine, looks the same both times.
constexpr absl::Duration kSettled = absl::Seconds(2);

absl::Status At(const std::string& path, const absl::Status& status) {
  return status.ok() ? status : absl::Status(status.code(), absl::StrCat(path, ": ", status.message()));
}

absl::StatusOr<std::string> ReadFile(const std::string& path) {
  // Not blocking: a pipe would hold us until somebody writes.
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
  if (file < 0) return absl::ErrnoToStatus(errno, path);
  const auto close_file = absl::MakeCleanup([file] { close(file); });
  struct stat status {};
  if (fstat(file, &status) != 0) return absl::ErrnoToStatus(errno, path);
  if (!S_ISREG(status.st_mode)) return At(path, absl::InvalidArgumentError("is not a regular file"));
  std::string content(kMaxFileBytes + 1, '\0');
  size_t size = 0;
  while (size < content.size()) {
    const ssize_t count = read(file, content.data() + size, content.size() - size);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return absl::ErrnoToStatus(errno, path);
    if (count == 0) break;
    size += static_cast<size_t>(count);
  }
  if (size > kMaxFileBytes) return At(path, absl::InvalidArgumentError("is larger than 1 MiB"));
  content.resize(size);
  return content;
}

absl::Time ToTime(const ASN1_TIME* time) {
  std::tm parts{};
  return ASN1_TIME_to_tm(time, &parts) == 1 ? absl::FromTimeT(timegm(&parts)) : absl::UnixEpoch();
}

absl::Status CheckChain(const std::vector<CertificatePtr>& chain) {
  for (size_t i = 0; i + 1 < chain.size(); ++i) {
    X509* const issuer = chain[i + 1].get();
    if (X509_check_issued(issuer, chain[i].get()) != X509_V_OK ||
        X509_verify(chain[i].get(), X509_get0_pubkey(issuer)) != 1) {
      TakeOpensslError();
      return absl::InvalidArgumentError(
          absl::StrCat("certificate ", i + 2, " did not issue certificate ", i + 1));
    }
  }
  return absl::OkStatus();
}

// Fills in the times.
absl::Status Check(Identity& identity, const CertificatePaths& paths) {
  const auto chain = ParseCertificates(identity.pem_chain);
  JOBPOOL_RETURN_IF_ERROR(At(paths.chain, chain.status()));
  JOBPOOL_RETURN_IF_ERROR(At(paths.chain, CheckChain(*chain)));
  const auto key = ParsePrivateKey(identity.pem_key);
  JOBPOOL_RETURN_IF_ERROR(At(paths.key, key.status()));
  X509* const leaf = chain->front().get();
  if (X509_check_private_key(leaf, key->get()) != 1) {
    TakeOpensslError();
    return At(paths.key, absl::InvalidArgumentError(
                             absl::StrCat("is not the private key of the certificate in ", paths.chain)));
  }
  if (!paths.client_ca.empty()) {
    JOBPOOL_RETURN_IF_ERROR(At(paths.client_ca, ParseCertificates(identity.pem_client_ca).status()));
  }
  JOBPOOL_RETURN_IF_ERROR(At(paths.chain, NewServerContext(identity).status()));
  identity.not_before = ToTime(X509_get0_notBefore(leaf));
  identity.not_after = ToTime(X509_get0_notAfter(leaf));
  return absl::OkStatus();
}

int64_t Nanoseconds(const timespec& time) { return int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec; }

}  // namespace

CertificateFiles::Stamp CertificateFiles::Stamp::Of(const std::string& path) {
  Stamp stamp;
  struct stat status {};
  if (stat(path.c_str(), &status) != 0) {
    stamp.error = errno;
    return stamp;
  }
  stamp.device = status.st_dev;
  stamp.inode = status.st_ino;
  stamp.size = status.st_size;
  stamp.modified_ns = Nanoseconds(status.st_mtim);
  stamp.changed_ns = Nanoseconds(status.st_ctim);
  return stamp;
}

std::vector<CertificateFiles::Stamp> CertificateFiles::Stamps() const {
  std::vector<Stamp> stamps = {Stamp::Of(paths_.chain), Stamp::Of(paths_.key)};
  if (!paths_.client_ca.empty()) stamps.push_back(Stamp::Of(paths_.client_ca));
  return stamps;
}

absl::Status CertificateFiles::Load() { return Reload().status(); }

absl::StatusOr<bool> CertificateFiles::Reload() {
  MutexLock lock(reload_mu_);
  // Before they are read: what is written meanwhile shows the next time.
  std::vector<Stamp> stamps = Stamps();
  if (settled_ && stamps == seen_) {
    if (!fault_.ok()) return fault_;
    return false;
  }
  const int64_t settled_before = absl::ToUnixNanos(clock_.Now() - kSettled);
  seen_ = std::move(stamps);
  settled_ = std::all_of(seen_.begin(), seen_.end(),
                         [&](const Stamp& stamp) { return stamp.changed_ns < settled_before; });
  absl::StatusOr<bool> changed = Read();
  fault_ = changed.status();
  return changed;
}

absl::StatusOr<bool> CertificateFiles::Read() {
  auto identity = std::make_shared<Identity>();
  JOBPOOL_ASSIGN_OR_RETURN(identity->pem_chain, ReadFile(paths_.chain));
  JOBPOOL_ASSIGN_OR_RETURN(identity->pem_key, ReadFile(paths_.key));
  if (!paths_.client_ca.empty()) {
    JOBPOOL_ASSIGN_OR_RETURN(identity->pem_client_ca, ReadFile(paths_.client_ca));
  }
  const std::shared_ptr<const Identity> old = Current();
  if (old != nullptr && old->pem_chain == identity->pem_chain && old->pem_key == identity->pem_key &&
      old->pem_client_ca == identity->pem_client_ca) {
    return false;
  }
  JOBPOOL_RETURN_IF_ERROR(Check(*identity, paths_));
  identity->version = old == nullptr ? 1 : old->version + 1;
  MutexLock lock(mu_);
  current_ = std::move(identity);
  return true;
}

std::shared_ptr<const Identity> CertificateFiles::Current() const {
  MutexLock lock(mu_);
  return current_;
}

std::string CertificateFiles::TimeFault() const {
  const absl::Time now = clock_.Now();
  const std::shared_ptr<const Identity> identity = Current();
  if (now > identity->not_after) {
    return absl::StrCat(paths_.chain, ": the certificate expired at ", absl::FormatTime(identity->not_after));
  }
  if (now < identity->not_before) {
    return absl::StrCat(paths_.chain, ": the certificate is not valid before ",
                        absl::FormatTime(identity->not_before));
  }
  return "";
}

}  // namespace jobpool
