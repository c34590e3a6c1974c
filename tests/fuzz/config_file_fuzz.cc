// The config file's text: whatever it is, a checked configuration or one line of refusal.

#include <cstdint>
#include <set>
#include <string>

#include "server/config/config_file.h"
#include "tests/fuzz/check.h"

namespace jobpool {
namespace {

void Check(const std::string& text) {
  const absl::StatusOr<ConfigFile> config = ConfigFile::Parse(text);
  if (!config.ok()) {
    FUZZ_CHECK(absl::IsInvalidArgument(config.status()));
    FUZZ_CHECK(!config.status().message().empty());
    FUZZ_CHECK(config.status().message().find_first_of("\r\n") == absl::string_view::npos);
    return;
  }
  std::set<std::string> names;
  for (const PoolOptions& pool : config->pools) {
    FUZZ_CHECK(names.insert(pool.name).second);
    FUZZ_CHECK(pool.min_threads >= 0 && pool.max_threads >= 1 && pool.max_threads <= 10'000);
    FUZZ_CHECK(pool.min_threads <= pool.max_threads);
    FUZZ_CHECK(pool.idle_timeout >= absl::ZeroDuration() && pool.idle_timeout <= absl::Hours(24));
    FUZZ_CHECK(pool.max_queued_jobs >= 1);
  }
  FUZZ_CHECK(names.count("blocking") == 1 && names.count("compute") == 1);
  FUZZ_CHECK(config->max_ended_jobs >= 0 && config->max_ended_bytes >= 0 && config->limits.max_waits >= 1);
  FUZZ_CHECK(CheckReload(*config, *config).ok());
}

}  // namespace
}  // namespace jobpool

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  jobpool::Check(std::string(reinterpret_cast<const char*>(bytes), size));
  return 0;
}
