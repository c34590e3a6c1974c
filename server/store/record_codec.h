#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "server/job/job_record.h"

namespace jobpool {

namespace store::v1 {
class JobRecord;
}  // namespace store::v1

/// Records as bytes: jobpool.store.v1.JobRecord. It keeps its message from one record to
/// the next, which saves most allocations. Not thread-safe.
class RecordEncoder {
 public:
  RecordEncoder();
  ~RecordEncoder();
  RecordEncoder(const RecordEncoder&) = delete;
  RecordEncoder& operator=(const RecordEncoder&) = delete;

  /// Appends `job` to `bytes`.
  void Append(const JobRecord& job, std::string& bytes);

 private:
  const std::unique_ptr<store::v1::JobRecord> message_;
};

/// A result alone. Thread-safe.
std::string EncodeResult(const Result& result);
/// Nothing: these bytes are none.
std::optional<Result> DecodeResult(absl::string_view bytes);

/// The way back. Not thread-safe.
class RecordDecoder {
 public:
  RecordDecoder();
  ~RecordDecoder();
  RecordDecoder(const RecordDecoder&) = delete;
  RecordDecoder& operator=(const RecordDecoder&) = delete;

  /// DATA_LOSS: these bytes are no record.
  absl::StatusOr<JobRecord> Decode(absl::string_view bytes);

 private:
  const std::shared_ptr<const std::string>& Pool(const std::string& name);

  const std::unique_ptr<store::v1::JobRecord> message_;
  std::vector<std::shared_ptr<const std::string>> pools_;
};

}  // namespace jobpool
