#include "server/app/files.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "server/base/status_macros.h"

namespace jobpool {
namespace {

absl::StatusOr<std::unique_ptr<CertificateFiles>> LoadCertificates(const CertificatePaths& paths) {
  if (paths.chain.empty()) return nullptr;
  auto certificates = std::make_unique<CertificateFiles>(paths);
  JOBPOOL_RETURN_IF_ERROR(certificates->Load());
  return certificates;
}

absl::StatusOr<ConfigFile> LoadConfig(const std::string& path) {
  return path.empty() ? ConfigFile::Default() : ConfigFile::Load(path);
}

}  // namespace

absl::StatusOr<std::unique_ptr<Files>> Files::Load(const Config& config) {
  JOBPOOL_ASSIGN_OR_RETURN(ConfigFile file, LoadConfig(config.config_file));
  auto files = std::make_unique<Files>(std::move(file));
  files->config_path_ = config.config_file;
  JOBPOOL_ASSIGN_OR_RETURN(files->grpc_certificates_, LoadCertificates(config.grpc_tls));
  JOBPOOL_ASSIGN_OR_RETURN(files->http_certificates_, LoadCertificates(config.http_tls));
  // Last, since it runs what is in them.
  for (const std::string& plugin : config.plugins) JOBPOOL_RETURN_IF_ERROR(files->plugins_.Load(plugin));
  return files;
}

absl::Status Files::ReloadConfig() {
  JOBPOOL_ASSIGN_OR_RETURN(ConfigFile next, LoadConfig(config_path_));
  if (const absl::Status status = CheckReload(config_, next); !status.ok()) {
    return absl::Status(status.code(), absl::StrCat(config_path_, ": ", status.message()));
  }
  config_ = std::move(next);
  return absl::OkStatus();
}

}  // namespace jobpool
