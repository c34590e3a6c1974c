#include "server/app/stores.h"

#include <filesystem>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/base/status_macros.h"
#include "server/store/state_folder.h"

namespace jobpool {
namespace {

constexpr char kFileName[] = "jobs.db";

}  // namespace

absl::StatusOr<std::unique_ptr<Stores>> Stores::Open(const Config& config, size_t max_jobs,
                                                     size_t max_bytes) {
  std::unique_ptr<SqliteStore> disk;
  if (config.store == "sqlite") {
    if (const absl::Status made = MakeStateFolder(config.state_dir); !made.ok()) {
      return absl::Status(made.code(), absl::StrCat("--state_dir: ", made.message()));
    }
    JOBPOOL_ASSIGN_OR_RETURN(
        disk, SqliteStore::Open((std::filesystem::path(config.state_dir) / kFileName).string()));
  }
  return std::unique_ptr<Stores>(new Stores(max_jobs, max_bytes, std::move(disk)));
}

}  // namespace jobpool
