#pragma once

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "server/base/clock.h"
#include "server/base/mutex.h"

namespace spdlog {
class logger;
}

namespace jobpool {

/// The server's log, on stderr: one line an event, `key=value` after the words.
/// Thread-safe. Before InitLog it writes at level info.
spdlog::logger& Log();

/// `level`: trace, debug, info, warn, error or off; `format`: text or json. Call it
/// once, from main.
absl::Status InitLog(const std::string& level, const std::string& format = "text");

/// Lets through so many lines a second that the log of single jobs can stay on
/// by default: what is beyond is counted, and the count said with the next line
/// that passes. Thread-safe.
class LogLimiter {
 public:
  /// `per_second`: also the most that passes at once.
  LogLimiter(int per_second, const Clock& clock) : per_second_(per_second), clock_(clock) {}

  /// Whether this line may be written; `*suppressed` is how many were not since
  /// the last that was.
  bool Allow(int64_t* suppressed);

 private:
  const int per_second_;
  const Clock& clock_;

  Mutex mu_;
  MonotonicTime second_start_ ABSL_GUARDED_BY(mu_){};
  int in_second_ ABSL_GUARDED_BY(mu_) = 0;
  int64_t suppressed_ ABSL_GUARDED_BY(mu_) = 0;
};

}  // namespace jobpool
