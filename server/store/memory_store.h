#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/btree_map.h"
#include "absl/container/btree_set.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/string_view.h"
#include "server/base/mutex.h"
#include "server/query/job_index.h"
#include "server/store/job_store.h"

namespace jobpool {

/// Keeps ended jobs in memory, at most `max_jobs`, and `max_bytes` of records with
/// payloads and results: beyond that the ones that expire first are forgotten
/// first. Live jobs and requests, which nobody need write here, have no bound. Thread-safe.
class MemoryStore final : public JobStore {
 public:
  explicit MemoryStore(size_t max_jobs, size_t max_bytes = size_t{1} << 30)
      : max_jobs_(max_jobs), max_bytes_(max_bytes) {}

  /// What is beyond them now is forgotten at once.
  void SetLimits(size_t max_jobs, size_t max_bytes);

  absl::Status Commit(absl::Span<const JobWrite> writes) override;
  absl::StatusOr<EndedJob> Get(const std::string& id) const override;
  absl::StatusOr<StoredPage> List(const JobQuery& query) const override;
  absl::StatusOr<bool> Delete(const std::string& id) override;
  absl::StatusOr<size_t> DeleteExpired(absl::Time now, size_t limit) override;
  size_t CountLive() const override;
  absl::StatusOr<std::vector<JobRecord>> ListLive(uint64_t after, size_t limit) const override;
  absl::StatusOr<std::vector<MadeRequest>> ListRequests(const std::optional<RequestId>& after,
                                                        size_t limit) const override;
  absl::StatusOr<uint64_t> LastNumber() const override;

 private:
  // The set of jobs is looked into by id alone.
  struct IdHash {
    using is_transparent = void;
    size_t operator()(absl::string_view id) const { return absl::Hash<absl::string_view>()(id); }
    size_t operator()(const EndedJob& job) const { return (*this)(job->id); }
  };
  struct IdEq {
    using is_transparent = void;
    static absl::string_view Id(absl::string_view id) { return id; }
    static absl::string_view Id(const EndedJob& job) { return job->id; }
    template <typename A, typename B>
    bool operator()(const A& a, const B& b) const {
      return Id(a) == Id(b);
    }
  };
  // With its time beside it, which would else be made anew for each comparison.
  struct Expiring {
    explicit Expiring(const JobRecord* record) : time(record->ExpireTime()), job(record) {}
    bool operator<(const Expiring& other) const {
      return time != other.time ? time < other.time : job->id < other.job->id;
    }
    absl::Time time;
    const JobRecord* job;
  };

  struct RequestOrder {
    bool operator()(const RequestId& a, const RequestId& b) const {
      return a.high != b.high ? a.high < b.high : a.low < b.low;
    }
  };

  void PutEnded(EndedJob job) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  /// Takes a job out of all three; the caller lets go of it outside the lock.
  EndedJob Remove(const JobRecord* job) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  /// Takes out what is beyond the limits; the caller lets go of it outside the lock.
  std::vector<EndedJob> RemoveBeyond() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  mutable Mutex mu_;
  size_t max_jobs_ ABSL_GUARDED_BY(mu_);
  size_t max_bytes_ ABSL_GUARDED_BY(mu_);
  size_t bytes_ ABSL_GUARDED_BY(mu_) = 0;
  absl::flat_hash_set<EndedJob, IdHash, IdEq> jobs_ ABSL_GUARDED_BY(mu_);
  JobIndex index_ ABSL_GUARDED_BY(mu_);
  absl::btree_set<Expiring> expiring_ ABSL_GUARDED_BY(mu_);
  absl::btree_map<uint64_t, std::shared_ptr<const JobRecord>> live_ ABSL_GUARDED_BY(mu_);
  absl::btree_map<RequestId, MadeRequest, RequestOrder> requests_ ABSL_GUARDED_BY(mu_);
  uint64_t last_number_ ABSL_GUARDED_BY(mu_) = 0;
};

}  // namespace jobpool
