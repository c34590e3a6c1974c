#pragma once

#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/app/config.h"
#include "server/config/config_file.h"
#include "server/handlers/plugins.h"
#include "server/tls/certificate_files.h"

namespace jobpool {

/// What a server reads from the files that its command line names. All are read, and
/// the plug-ins loaded, before anything starts. Used by one thread but for the
/// certificates and the plug-ins, which are thread-safe.
class Files {
 public:
  /// The error is one line that names the file and its fault.
  static absl::StatusOr<std::unique_ptr<Files>> Load(const Config& config);

  /// Without any, as if `config` had been read: for a server within another program.
  explicit Files(ConfigFile config) : config_(std::move(config)) {}

  const ConfigFile& config() const { return config_; }
  const Plugins& plugins() const { return plugins_; }

  /// Reads the config file again. If it is faulty, or asks for what a running
  /// server cannot do, what was read before stays.
  absl::Status ReloadConfig();

  /// Null: without TLS.
  CertificateFiles* grpc_certificates() const { return grpc_certificates_.get(); }
  CertificateFiles* http_certificates() const { return http_certificates_.get(); }

 private:
  std::string config_path_;
  ConfigFile config_;
  Plugins plugins_;
  std::unique_ptr<CertificateFiles> grpc_certificates_;
  std::unique_ptr<CertificateFiles> http_certificates_;
};

}  // namespace jobpool
