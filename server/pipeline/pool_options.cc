#include "server/pipeline/pool_options.h"

#include "absl/strings/str_cat.h"

namespace jobpool {
namespace {

constexpr int64_t kMaxThreads = 10'000;
constexpr int64_t kMaxQueuedJobs = 100'000'000;
constexpr absl::Duration kMaxIdleTimeout = absl::Hours(24);
constexpr absl::Duration kMinStopGrace = absl::Milliseconds(50);  // what the built-in kinds need
constexpr absl::Duration kMaxStopGrace = absl::Hours(1);

}  // namespace

void CheckPoolOptions(const PoolOptions& options, absl::string_view prefix, Violations& violations) {
  const auto at = [&](absl::string_view field) { return absl::StrCat(prefix, field); };
  CheckRange(options.max_threads, 1, kMaxThreads, at("max_threads"), violations);
  if (options.min_threads < 0 || options.min_threads > options.max_threads) {
    violations.Add(at("min_threads"), absl::StrCat("must be 0 to max_threads, which is ", options.max_threads,
                                                   "; is ", options.min_threads));
  }
  CheckRange(options.idle_timeout, kMaxIdleTimeout, at("idle_timeout"), violations);
  CheckRange(options.max_queued_jobs, 1, kMaxQueuedJobs, at("max_queued_jobs"), violations);
  CheckRate(options.max_starts_per_second, at("max_starts_per_second"), violations);
  CheckRate(options.max_submits_per_second, at("max_submits_per_second"), violations);
  if (options.stop_grace < kMinStopGrace || options.stop_grace > kMaxStopGrace) {
    violations.Add(at("stop_grace"),
                   absl::StrCat("must be 50ms to 1h, is ", absl::FormatDuration(options.stop_grace)));
  }
}

void CheckRate(double per_second, absl::string_view field, Violations& violations) {
  if (per_second != 0) CheckRealRange(per_second, 0.001, 1e6, field, violations);
}

}  // namespace jobpool
