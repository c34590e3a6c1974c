#include "server/app/stores.h"

#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/base/status_macros.h"

namespace jobpool {
namespace {

constexpr char kFileName[] = "jobs.db";

// Its user's alone: payloads are nobody else's business.
absl::Status MakeFolder(const std::string& path) {
  std::error_code error;
  if (std::filesystem::is_directory(path, error)) return absl::OkStatus();
  std::filesystem::create_directories(path, error);
  if (!error) std::filesystem::permissions(path, std::filesystem::perms::owner_all, error);
  if (error) return absl::FailedPreconditionError(absl::StrCat("--state_dir ", path, ": ", error.message()));
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Stores>> Stores::Open(const Config& config, size_t max_jobs,
                                                     size_t max_bytes) {
  std::unique_ptr<SqliteStore> disk;
  if (config.store == "sqlite") {
    JOBPOOL_RETURN_IF_ERROR(MakeFolder(config.state_dir));
    JOBPOOL_ASSIGN_OR_RETURN(
        disk, SqliteStore::Open((std::filesystem::path(config.state_dir) / kFileName).string()));
  }
  return std::unique_ptr<Stores>(new Stores(max_jobs, max_bytes, std::move(disk)));
}

}  // namespace jobpool
