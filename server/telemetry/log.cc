#include "server/telemetry/log.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include "absl/strings/str_cat.h"
#include "server/telemetry/json_formatter.h"

namespace jobpool {

spdlog::logger& Log() {
  // Never destroyed: threads of gRPC may log until the very end.
  static spdlog::logger* const log = [] {
    auto* made = new spdlog::logger("jobpoold", std::make_shared<spdlog::sinks::stderr_sink_mt>());
    made->set_pattern("%Y-%m-%dT%H:%M:%S.%eZ %l %v", spdlog::pattern_time_type::utc);
    made->flush_on(spdlog::level::trace);
    return made;
  }();
  return *log;
}

absl::Status InitLog(const std::string& level, const std::string& format) {
  const spdlog::level::level_enum parsed = spdlog::level::from_str(level);
  // from_str answers "off" for what it does not know.
  if (parsed == spdlog::level::off && level != "off") {
    return absl::InvalidArgumentError(absl::StrCat("no log level \"", level, "\""));
  }
  Log().set_level(parsed);
  if (format == "json") {
    Log().set_formatter(std::make_unique<JsonFormatter>());
  } else if (format != "text") {
    return absl::InvalidArgumentError(absl::StrCat("no log format \"", format, "\""));
  }
  return absl::OkStatus();
}

bool LogLimiter::Allow(int64_t* suppressed) {
  const MonotonicTime now = clock_.Monotonic();
  MutexLock lock(mu_);
  if (now - second_start_ >= std::chrono::seconds(1)) {
    second_start_ = now;
    in_second_ = 0;
  }
  if (in_second_ >= per_second_) {
    ++suppressed_;
    return false;
  }
  ++in_second_;
  *suppressed = suppressed_;
  suppressed_ = 0;
  return true;
}

}  // namespace jobpool
