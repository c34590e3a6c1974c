#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <sys/stat.h>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/base/clock.h"
#include "server/base/mutex.h"

namespace jobpool {

/// What a listener shows to its clients, and whom it lets in. Never changes.
struct Identity {
  std::string pem_chain;  // the leaf first, then its issuers in turn
  std::string pem_key;
  std::string pem_client_ca;  // empty: clients need no certificate
  absl::Time not_before;      // of the leaf
  absl::Time not_after;
  uint64_t version = 0;  // 1 for the first; grows with every change
};

/// Files in PEM form, of at most 1 MiB each.
struct CertificatePaths {
  std::string chain;
  std::string key;
  std::string client_ca;  // empty: none
};

/// Keeps one listener's identity as its files have it. It has no thread: its
/// owner calls Reload, as often as once a second. Thread-safe.
class CertificateFiles {
 public:
  /// `clock` outlives it.
  explicit CertificateFiles(CertificatePaths paths, const Clock& clock = Clock::Real())
      : paths_(std::move(paths)), clock_(clock) {}

  /// Reads and checks all files for the first time. The error is one line that
  /// names the file and its fault: it cannot be read, is too large, is no PEM, its
  /// certificates are not a chain, the key is another certificate's or protected
  /// by a password. A certificate out of its time is no error: see TimeFault.
  absl::Status Load();

  /// Reads them again if they are not as they were (a few microseconds if they
  /// are), and returns whether the identity has changed. Where they are faulty, as
  /// Load has it, the identity stays, and the error is returned again for as long
  /// as the files stay so.
  absl::StatusOr<bool> Reload();

  /// Null before a Load that succeeded, never after.
  std::shared_ptr<const Identity> Current() const;

  /// One line if the current certificate has expired, or is not valid yet; empty
  /// otherwise. REQUIRES: loaded.
  std::string TimeFault() const;

  const CertificatePaths& paths() const { return paths_; }

 private:
  // What changes when a file does.
  struct Stamp {
    int error = 0;  // errno, if there is no such file
    dev_t device = 0;
    ino_t inode = 0;
    off_t size = 0;
    int64_t modified_ns = 0;  // since the epoch
    int64_t changed_ns = 0;   // of the inode: also with a file put in its place that is as old

    static Stamp Of(const std::string& path);
    bool operator==(const Stamp&) const = default;
  };

  std::vector<Stamp> Stamps() const;
  absl::StatusOr<bool> Read();

  const CertificatePaths paths_;
  const Clock& clock_;

  Mutex reload_mu_;  // held while reading; before mu_
  std::vector<Stamp> seen_ ABSL_GUARDED_BY(reload_mu_);
  // Of what was seen; not settled: written so lately that a change since may not show in the stamps.
  bool settled_ ABSL_GUARDED_BY(reload_mu_) = false;
  absl::Status fault_ ABSL_GUARDED_BY(reload_mu_);

  mutable Mutex mu_;
  std::shared_ptr<const Identity> current_ ABSL_GUARDED_BY(mu_);
};

}  // namespace jobpool
