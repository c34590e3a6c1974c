#pragma once

#include <string>

#include "server/handlers/handler.h"
#include "server/pipeline/job_log.h"
#include "server/workers/thread_registry.h"

namespace jobpool {

/// The server as the work of one attempt sees it.
class AttemptHost final : public HandlerHost {
 public:
  /// All outlive it. `thread_id`: of the thread that runs the attempt.
  AttemptHost(const std::string& job_id, uint64_t thread_id, const ThreadRegistry& registry, JobLog& log)
      : job_id_(job_id), thread_id_(thread_id), registry_(registry), log_(log) {}

  void Log(WorkLogLevel level, absl::string_view text) const override;
  void CurrentThread(TakeThread take) const override;
  uint64_t ActiveCount() const override;
  void ForEachThread(TakeThread take) const override;

 private:
  const std::string& job_id_;
  const uint64_t thread_id_;
  const ThreadRegistry& registry_;
  JobLog& log_;
};

}  // namespace jobpool
