#include "server/config/process_config.h"

#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"
#include "server/config/duration.h"
#include "server/process/fences.h"

namespace jobpool {
namespace {

constexpr int64_t kMaxBytes = int64_t{1} << 40;
constexpr absl::Duration kMaxCpuTime = absl::Hours(30 * 24);
constexpr int64_t kMaxOpenFiles = 1 << 20;
constexpr int64_t kMaxProcesses = 1'000'000;
// What the program itself needs before it does anything, and some.
constexpr LeastFences kLeastOfWorker = {int64_t{256} << 20, 32};
constexpr int32_t kMaxMinIdle = 1'000;
constexpr int32_t kMaxMaxIdle = 10'000;
constexpr int64_t kMaxJobs = 100'000'000;
constexpr int64_t kMinResidentBytes = int64_t{16} << 20;

}  // namespace

void DecodeProcessLimits(const config::v1::ProcessLimits& limits, const LeastFences& least,
                         absl::string_view path, Fences& fences, Violations& violations) {
  const auto at = [&](absl::string_view field) { return absl::StrCat(path, ".", field); };
  const auto take = [&](bool has, int64_t value, int64_t min, int64_t max, const char* field, int64_t& to) {
    if (!has) return;
    CheckRange(value, min, max, at(field), violations);
    to = value;
  };
  if (limits.has_max_memory_bytes()) {
    fences.memory_bytes = limits.max_memory_bytes();
    if (fences.memory_bytes != 0 &&
        (fences.memory_bytes < least.memory_bytes || fences.memory_bytes > kMaxBytes)) {
      violations.Add(at("max_memory_bytes"), absl::StrCat("must be 0 or ", least.memory_bytes, " to ",
                                                          kMaxBytes, ", is ", fences.memory_bytes));
    }
  }
  if (limits.has_max_cpu_time()) {
    const absl::Duration cpu = DecodeDuration(limits.max_cpu_time());
    if (cpu < absl::ZeroDuration() || cpu > kMaxCpuTime || absl::Trunc(cpu, absl::Seconds(1)) != cpu) {
      violations.Add(at("max_cpu_time"),
                     absl::StrCat("must be 0 to 720h in whole seconds, is ", absl::FormatDuration(cpu)));
    }
    fences.cpu_seconds = absl::ToInt64Seconds(cpu);
  }
  take(limits.has_max_file_bytes(), limits.max_file_bytes(), 0, kMaxBytes, "max_file_bytes",
       fences.file_bytes);
  take(limits.has_max_open_files(), limits.max_open_files(), least.open_files, kMaxOpenFiles,
       "max_open_files", fences.open_files);
  take(limits.has_max_processes(), limits.max_processes(), 0, kMaxProcesses, "max_processes",
       fences.processes);
  // The server's own would be counted with those of its user.
  if (fences.user.empty()) fences.processes = 0;
}

void CheckUser(const std::string& user, absl::string_view path, Violations& violations) {
  if (user.empty()) return;
  if (user.find('\0') != std::string::npos) {
    violations.Add(path, "must have no NUL");
  } else if (!IsUser(user)) {
    violations.Add(path, absl::StrCat("there is no user ", Shown(user)));
  }
}

ProcessPoolOptions DecodeProcesses(const config::v1::Processes& encoded, Violations& violations) {
  ProcessPoolOptions options;
  const auto take = [&](bool has, auto value, auto min, auto max, const char* field, auto& to) {
    if (!has) return;
    CheckRange(value, min, max, absl::StrCat("processes.", field), violations);
    to = value;
  };
  take(encoded.has_min_idle(), encoded.min_idle(), 0, kMaxMinIdle, "min_idle", options.min_idle);
  options.max_idle = std::max(options.max_idle, options.min_idle);
  take(encoded.has_max_idle(), encoded.max_idle(), options.min_idle, kMaxMaxIdle, "max_idle",
       options.max_idle);
  if (encoded.has_idle_timeout()) {
    options.idle_timeout = DecodeDuration(encoded.idle_timeout());
    CheckRange(options.idle_timeout, absl::Hours(24), "processes.idle_timeout", violations);
  }
  take(encoded.has_max_jobs(), encoded.max_jobs(), int64_t{1}, kMaxJobs, "max_jobs", options.max_tasks);
  take(encoded.has_max_resident_bytes(), encoded.max_resident_bytes(), kMinResidentBytes, kMaxBytes,
       "max_resident_bytes", options.max_resident_bytes);
  options.fences.user = encoded.user();
  CheckUser(encoded.user(), "processes.user", violations);
  DecodeProcessLimits(encoded.limits(), kLeastOfWorker, "processes.limits", options.fences, violations);
  if (encoded.has_seccomp()) options.confine = encoded.seccomp();
  return options;
}

}  // namespace jobpool
