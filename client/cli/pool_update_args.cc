#include "client/cli/pool_update_args.h"

#include "client/cli/time_args.h"
#include "client/cli/work_args.h"

namespace jobpool::cli {

absl::StatusOr<v1::UpdatePoolRequest> ToUpdateRequest(const PoolUpdateArgs& args) {
  v1::UpdatePoolRequest request;
  v1::Pool& pool = *request.mutable_pool();
  google::protobuf::FieldMask& mask = *request.mutable_update_mask();
  pool.set_name(ResourceName("pools", args.name));
  if (args.min_threads) {
    pool.set_min_threads(*args.min_threads);
    mask.add_paths("min_threads");
  }
  if (args.max_threads) {
    pool.set_max_threads(*args.max_threads);
    mask.add_paths("max_threads");
  }
  if (args.max_queued_jobs) {
    pool.set_max_queued_jobs(*args.max_queued_jobs);
    mask.add_paths("max_queued_jobs");
  }
  if (args.max_starts_per_second) {
    pool.set_max_starts_per_second(*args.max_starts_per_second);
    mask.add_paths("max_starts_per_second");
  }
  if (args.max_submits_per_second) {
    pool.set_max_submits_per_second(*args.max_submits_per_second);
    mask.add_paths("max_submits_per_second");
  }
  if (args.idle_timeout) {
    const absl::Status status =
        SetDuration("--idle-timeout", *args.idle_timeout, *pool.mutable_idle_timeout());
    if (!status.ok()) return status;
    mask.add_paths("idle_timeout");
  }
  if (args.stop_grace) {
    const absl::Status status = SetDuration("--stop-grace", *args.stop_grace, *pool.mutable_stop_grace());
    if (!status.ok()) return status;
    mask.add_paths("stop_grace");
  }
  if (mask.paths().empty()) return absl::InvalidArgumentError("there is nothing to change");
  return request;
}

}  // namespace jobpool::cli
