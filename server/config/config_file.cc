#include "server/config/config_file.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <optional>
#include <set>
#include <sys/stat.h>

#include <google/protobuf/io/tokenizer.h>
#include <google/protobuf/text_format.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "jobpool/config/v1/config.pb.h"
#include "server/config/command_config.h"
#include "server/config/cpu_quota.h"
#include "server/config/duration.h"
#include "server/config/process_config.h"
#include "server/job/resource_name.h"
#include "server/job/validation.h"

namespace jobpool {
namespace {

constexpr size_t kMaxFileBytes = size_t{1} << 20;
constexpr int kMaxPools = 64;
constexpr int64_t kMaxCount = 100'000'000;
constexpr int64_t kMaxBytes = int64_t{1} << 40;

// Keeps the first error, as `line:column: what`.
class FirstError final : public google::protobuf::io::ErrorCollector {
 public:
  void AddError(int line, google::protobuf::io::ColumnNumber column, const std::string& message) override {
    // Protobuf counts from 0; -1: of the whole.
    if (text_.empty()) text_ = absl::StrCat(line + 1, ":", column + 1, ": ", message);
  }
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

PoolOptions DefaultPool(const std::string& name) {
  PoolOptions pool;
  pool.name = name;
  if (name == "blocking") pool.max_threads = 256;
  if (name == "compute") pool.min_threads = pool.max_threads = CpuQuota();
  return pool;
}

PoolOptions DecodePool(const config::v1::Pool& encoded, const std::string& path, Violations& violations) {
  const auto at = [&](absl::string_view field) { return absl::StrCat(path, ".", field); };
  PoolOptions pool = DefaultPool(encoded.name());
  if (!IsResourceId(pool.name)) violations.Add(at("name"), "must match [a-z]([a-z0-9-]{0,61}[a-z0-9])?");
  const bool has_default = pool.name == "blocking" || pool.name == "compute";
  if (encoded.has_max_threads()) {
    pool.max_threads = encoded.max_threads();
    pool.min_threads = std::min(pool.min_threads, pool.max_threads);
  } else if (!has_default) {
    violations.Add(at("max_threads"), "is required");
  }
  if (encoded.has_min_threads()) {
    pool.min_threads = encoded.min_threads();
    if (!encoded.has_max_threads()) pool.max_threads = std::max(pool.max_threads, pool.min_threads);
  }
  if (encoded.has_idle_timeout()) pool.idle_timeout = DecodeDuration(encoded.idle_timeout());
  if (encoded.has_max_queued_jobs()) pool.max_queued_jobs = encoded.max_queued_jobs();
  pool.max_starts_per_second = encoded.max_starts_per_second();
  pool.max_submits_per_second = encoded.max_submits_per_second();
  if (encoded.has_stop_grace()) pool.stop_grace = DecodeDuration(encoded.stop_grace());
  CheckPoolOptions(pool, absl::StrCat(path, "."), violations);
  return pool;
}

void DecodeKinds(const config::v1::ServerConfig& encoded, KindOptionsByKind& kinds, Violations& violations) {
  std::set<std::string> names;
  for (int i = 0; i < encoded.kinds_size(); ++i) {
    const config::v1::Kind& kind = encoded.kinds(i);
    const auto at = [&](absl::string_view field) { return absl::StrCat("kinds[", i, "].", field); };
    KindOptions options{kind.max_running_jobs(), kind.max_starts_per_second(), kind.max_submits_per_second()};
    CheckRange(options.max_running_jobs, 0, kMaxCount, at("max_running_jobs"), violations);
    CheckRate(options.max_starts_per_second, at("max_starts_per_second"), violations);
    CheckRate(options.max_submits_per_second, at("max_submits_per_second"), violations);
    const std::optional<Kind> found = FindKind(kind.name());
    if (!found.has_value()) {
      violations.Add(at("name"), "is not a kind of job");
      continue;
    }
    if (!names.insert(kind.name()).second) {
      violations.Add(at("name"), absl::StrCat("\"", kind.name(), "\" comes twice"));
    }
    kinds[static_cast<size_t>(*found)] = options;
  }
}

std::vector<PoolOptions> DecodePools(const config::v1::ServerConfig& encoded, Violations& violations) {
  std::vector<PoolOptions> pools;
  std::set<std::string> names;
  if (encoded.pools_size() > kMaxPools) {
    violations.Add("pools", absl::StrCat("must be at most ", kMaxPools, ", are ", encoded.pools_size()));
    return pools;
  }
  for (int i = 0; i < encoded.pools_size(); ++i) {
    const std::string path = absl::StrCat("pools[", i, "]");
    pools.push_back(DecodePool(encoded.pools(i), path, violations));
    if (!names.insert(pools.back().name).second) {
      violations.Add(absl::StrCat(path, ".name"), absl::StrCat("\"", pools.back().name, "\" comes twice"));
    }
  }
  for (const char* name : {"blocking", "compute"}) {
    if (names.insert(name).second) pools.push_back(DefaultPool(name));
  }
  return pools;
}

void DecodeLimits(const config::v1::Limits& encoded, ConfigFile& config, Violations& violations) {
  const auto take = [&](bool has, int64_t value, int64_t min, int64_t max, const char* field, int64_t& to) {
    if (!has) return;
    CheckRange(value, min, max, field, violations);
    to = value;
  };
  take(encoded.has_max_ended_jobs(), encoded.max_ended_jobs(), 0, kMaxCount, "limits.max_ended_jobs",
       config.max_ended_jobs);
  take(encoded.has_max_ended_bytes(), encoded.max_ended_bytes(), 0, kMaxBytes, "limits.max_ended_bytes",
       config.max_ended_bytes);
  take(encoded.has_max_live_bytes(), encoded.max_live_bytes(), 1 << 20, kMaxBytes, "limits.max_live_bytes",
       config.limits.max_live_bytes);
  take(encoded.has_max_waits(), encoded.max_waits(), 1, kMaxCount, "limits.max_waits",
       config.limits.max_waits);
  take(encoded.has_max_request_ids(), encoded.max_request_ids(), 0, kMaxCount, "limits.max_request_ids",
       config.limits.max_request_ids);
  take(encoded.has_max_watch_events(), encoded.max_watch_events(), 1'000, kMaxCount,
       "limits.max_watch_events", config.limits.max_watch_events);
  take(encoded.has_max_watches(), encoded.max_watches(), 1, 100'000, "limits.max_watches",
       config.limits.max_watches);
  take(encoded.has_max_store_bytes(), encoded.max_store_bytes(), 1 << 20, kMaxBytes, "limits.max_store_bytes",
       config.limits.max_store_bytes);
  take(encoded.has_max_call_bytes(), encoded.max_call_bytes(), 32 << 20, kMaxBytes, "limits.max_call_bytes",
       config.max_call_bytes);
}

std::set<std::string> NamesOf(const std::vector<PoolOptions>& pools) {
  std::set<std::string> names;
  for (const PoolOptions& pool : pools) names.insert(pool.name);
  return names;
}

absl::StatusOr<std::string> ReadFile(const std::string& path) {
  const auto cannot_read = [&](absl::string_view why) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": ", why));
  };
  struct stat info {};
  if (stat(path.c_str(), &info) != 0) return cannot_read(std::strerror(errno));
  if (!S_ISREG(info.st_mode)) return cannot_read("is not a regular file");
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  if (!file) return cannot_read(errno != 0 ? std::strerror(errno) : "cannot be read");
  std::string text(kMaxFileBytes + 1, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (file.bad()) return cannot_read("cannot be read");
  text.resize(static_cast<size_t>(file.gcount()));
  if (text.size() > kMaxFileBytes) return cannot_read("is larger than 1 MiB");
  return text;
}

}  // namespace

ConfigFile ConfigFile::Default() { return Parse("").value(); }

absl::StatusOr<ConfigFile> ConfigFile::Parse(const std::string& text) {
  config::v1::ServerConfig encoded;
  FirstError error;
  google::protobuf::TextFormat::Parser parser;
  parser.RecordErrorsTo(&error);
  parser.SetRecursionLimit(16);
  if (!parser.ParseFromString(text, &encoded)) {
    return absl::InvalidArgumentError(
        absl::StrReplaceAll(error.text(), {{"\n", " "}, {"\r", " "}, {absl::string_view("\0", 1), " "}}));
  }
  Violations violations;
  ConfigFile config;
  config.pools = DecodePools(encoded, violations);
  DecodeKinds(encoded, config.kinds, violations);
  DecodeLimits(encoded.limits(), config, violations);
  config.processes = DecodeProcesses(encoded.processes(), violations);
  const auto blocking = std::find_if(config.pools.begin(), config.pools.end(),
                                     [](const PoolOptions& pool) { return pool.name == "blocking"; });
  if (blocking != config.pools.end()) {  // else there are too many, as is said
    config.commands = DecodeCommands(encoded, blocking->stop_grace, violations);
  }
  if (!violations.empty()) {
    return absl::InvalidArgumentError(absl::StrReplaceAll(violations.ToStatus().message(), {{"\n", " "}}));
  }
  return config;
}

absl::StatusOr<ConfigFile> ConfigFile::Load(const std::string& path) {
  absl::StatusOr<std::string> text = ReadFile(path);
  if (!text.ok()) return text.status();
  absl::StatusOr<ConfigFile> config = Parse(*text);
  if (!config.ok()) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": ", config.status().message()));
  }
  return config;
}

absl::Status CheckReload(const ConfigFile& current, const ConfigFile& next) {
  if (NamesOf(current.pools) == NamesOf(next.pools)) return absl::OkStatus();
  return absl::FailedPreconditionError("pools cannot be added or removed while the server runs");
}

}  // namespace jobpool
