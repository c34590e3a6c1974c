#pragma once

#include "server/store/job_store.h"

namespace jobpool {

/// Two stores as one: that of the jobs that are kept in memory, and that of those kept
/// on disk. A job is written to the one that its durability says; what is read from both
/// is as if there were one. Thread-safe.
class LayeredStore final : public JobStore {
 public:
  /// Both outlive it. `disk`: null: there is none. Its errors are given the reasons that
  /// callers are told.
  LayeredStore(JobStore& memory, JobStore* disk) : memory_(memory), disk_(disk) {}

  /// REQUIRES: all of one durability, and there is a disk for those of DISK.
  absl::Status Commit(absl::Span<const JobWrite> writes) override;
  absl::StatusOr<EndedJob> Get(const std::string& id) const override;
  absl::StatusOr<StoredPage> List(const JobQuery& query) const override;
  absl::StatusOr<bool> Delete(const std::string& id) override;
  /// Of those in memory alone: StoreWriter deletes the others, between its commits.
  absl::StatusOr<size_t> DeleteExpired(absl::Time now, size_t limit) override;

  // Of the disk, where there is one.
  size_t CountLive() const override { return ToStart().CountLive(); }
  absl::StatusOr<std::vector<JobRecord>> ListLive(uint64_t after, size_t limit) const override;
  absl::StatusOr<std::vector<MadeRequest>> ListRequests(const std::optional<RequestId>& after,
                                                        size_t limit) const override;
  absl::StatusOr<uint64_t> LastNumber() const override;

 private:
  const JobStore& ToStart() const { return disk_ != nullptr ? *disk_ : memory_; }

  JobStore& memory_;
  JobStore* const disk_;
};

}  // namespace jobpool
