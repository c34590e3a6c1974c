#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/handlers/allowed_command.h"
#include "server/pipeline/dispatcher.h"
#include "server/pipeline/pipeline.h"
#include "server/workers/process_pool.h"

namespace jobpool {

/// What the config file chooses, checked; see proto/jobpool/config/v1/config.proto
/// for units, bounds and defaults.
struct ConfigFile {
  std::vector<PoolOptions> pools;  // `blocking` and `compute` among them
  KindOptionsByKind kinds;
  std::vector<AllowedCommand> commands;
  ProcessPoolOptions processes;
  PipelineLimits limits;
  int64_t max_ended_jobs = 100'000;
  int64_t max_ended_bytes = int64_t{1} << 30;
  int64_t max_call_bytes = int64_t{1} << 30;

  /// That of an empty file.
  static ConfigFile Default();

  /// INVALID_ARGUMENT: `text` is not a jobpool.config.v1.ServerConfig in text
  /// format, or a value is out of bounds; one line, which says where.
  static absl::StatusOr<ConfigFile> Parse(const std::string& text);

  /// Reads the file, at most 1 MiB; errors, also of Parse, begin with its path.
  static absl::StatusOr<ConfigFile> Load(const std::string& path);
};

/// Whether a server that runs with `current` can go on with `next`.
/// FAILED_PRECONDITION: not without a restart.
absl::Status CheckReload(const ConfigFile& current, const ConfigFile& next);

}  // namespace jobpool
