#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "server/base/progress.h"
#include "server/job/job_record.h"

namespace jobpool {

/// As jobpool.v1.JobEvent.Type says.
enum class JobEventType : unsigned char {
  kInitial,
  kCreated,
  kChanged,
  kProgress,
  kEnded,
  kDeleted,
  kOutput
};

/// What a program has written to one of its streams.
struct JobOutput {
  OutputStream stream = OutputStream::kOut;
  std::string bytes;
};

/// What has happened to a job; never changed, so that all who look share it.
struct JobEvent {
  JobEventType type = JobEventType::kInitial;
  uint64_t sequence = 0;                    // in the order of the log, from 1; 0: of kInitial
  std::shared_ptr<const JobRecord> job;     // as it stood after that
  std::shared_ptr<const JobRecord> before;  // as it stood before, where a filter could tell the two apart
  std::optional<Progress::Value> progress;  // as it stood after that
  std::optional<JobOutput> output;          // of kOutput

  /// About what it holds in memory, with itself, but for payloads and results that are
  /// counted with live jobs.
  size_t Bytes() const;
};

using SharedJobEvent = std::shared_ptr<const JobEvent>;

}  // namespace jobpool
