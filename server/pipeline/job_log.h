#pragma once

#include "server/base/clock.h"
#include "server/handlers/handler.h"
#include "server/job/job_record.h"
#include "server/telemetry/log.h"
#include "server/workers/thread_registry.h"

namespace jobpool {

/// One log line for each start and each end of an attempt of a job: at level info up to 100 a
/// second, with how many were left out; at level debug all of them. Thread-safe.
class JobLog {
 public:
  explicit JobLog(const Clock& clock) : limiter_(100, clock), said_limiter_(100, clock) {}

  void Started(const std::string& id, const std::string& display_name, Kind kind,
               const RegistryEntry& thread);
  void Ended(const JobRecord& job);
  /// The last attempt has failed and will be followed by another.
  void Retried(const JobRecord& job);
  /// A thread did not listen when its job was asked to end. Never left out.
  void Abandoned(const std::string& id, uint64_t thread_id);
  /// What the work of a job says: up to 100 a second of all levels, not counted among the others.
  void Said(const std::string& id, WorkLogLevel level, absl::string_view text);

 private:
  bool Wanted();

  LogLimiter limiter_;
  LogLimiter said_limiter_;
};

}  // namespace jobpool
