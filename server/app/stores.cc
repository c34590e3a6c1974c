#include "server/app/stores.h"

#include <chrono>
#include <filesystem>
#include <string>
#include <sys/resource.h>
#include <system_error>
#include <utility>

#include <spdlog/spdlog.h>

#include "absl/strings/str_cat.h"
#include "server/base/clock.h"
#include "server/base/status_macros.h"
#include "server/store/state_folder.h"
#include "server/telemetry/log.h"

namespace jobpool {
namespace {

constexpr char kFileName[] = "jobs.db";

// Of the check: jobs and calls come first.
constexpr int kNice = 10;

std::string FileOf(const Config& config) {
  return (std::filesystem::path(config.state_dir) / kFileName).string();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Stores>> Stores::Open(const Config& config, size_t max_jobs,
                                                     size_t max_bytes) {
  std::unique_ptr<SqliteStore> disk;
  if (config.store == "sqlite") {
    if (const absl::Status made = MakeStateFolder(config.state_dir); !made.ok()) {
      return absl::Status(made.code(), absl::StrCat("--state_dir: ", made.message()));
    }
    JOBPOOL_ASSIGN_OR_RETURN(disk, SqliteStore::Open(FileOf(config)));
  }
  return std::unique_ptr<Stores>(new Stores(max_jobs, max_bytes, std::move(disk)));
}

Stores::~Stores() { EndCheck(); }

absl::StatusOr<SqliteBackup> Stores::BackUp(const Config& config, absl::FunctionRef<bool()> stop) {
  const std::string file = FileOf(config);
  absl::StatusOr<SqliteBackup> backup = BackUpSqlite(file, *config.backup_to, "", stop);
  if (!backup.ok()) {
    return absl::Status(backup.status().code(),
                        absl::StrCat("no backup of the store ", file, ": ", backup.status().message()));
  }
  return backup;
}

void Stores::StartCheck(ThreadRegistry& registry) {
  if (disk_ == nullptr || disk_->checked()) return;
  try {
    check_ = std::thread([this, &registry] { Check(registry); });
  } catch (const std::system_error& error) {  // no more threads to be had
    Log().warn("store not checked error=\"{}\"", error.what());
  }
}

void Stores::Check(ThreadRegistry& registry) {
  RegisteredThread thread(registry, ThreadRole::kService, "");
  thread.SetRunning(true);
  setpriority(PRIO_PROCESS, 0, kNice);  // on Linux, of this thread
  const MonotonicTime start = Clock::Real().Monotonic();
  const absl::Status status = disk_->CheckIntegrity();
  if (absl::IsCancelled(status)) return;
  const double seconds = std::chrono::duration<double>(Clock::Real().Monotonic() - start).count();
  if (status.ok()) {
    Log().info("store checked bytes={} seconds={:.1f}", disk_->Stats().file_bytes, seconds);
  } else if (absl::IsDataLoss(status)) {
    Log().error("store damaged, restore a backup error=\"{}\" seconds={:.1f}", std::string(status.message()),
                seconds);
  } else {
    Log().warn("store not checked error=\"{}\"", std::string(status.message()));
  }
}

void Stores::EndCheck() {
  if (!check_.joinable()) return;
  disk_->EndChecks();
  check_.join();
}

}  // namespace jobpool
