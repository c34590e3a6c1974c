#pragma once

#include <array>
#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "server/base/clock.h"
#include "server/job/job_id.h"
#include "server/pipeline/job_reader.h"
#include "server/pipeline/job_table.h"
#include "server/pipeline/kind_limits.h"
#include "server/pipeline/live_job.h"
#include "server/pipeline/pool_set.h"
#include "server/pipeline/request_ids.h"
#include "server/store/job_store.h"
#include "server/telemetry/job_metrics.h"

namespace jobpool {

/// What became of a request for a job.
struct Submission {
  JobHandle job;
  /// The same request has made it before.
  bool duplicate = false;
};

/// Where jobs come in: takes what can be taken, refuses the rest at once.
/// Thread-safe.
class Admission {
 public:
  /// All outlive it. `seed`: random, for job ids. A job of no said durability is kept on
  /// disk if `events` has a writer.
  Admission(PoolSet& pools, JobTable& table, const JobReader& reader, const JobStore& store,
            RequestIds& request_ids, KindLimits& kinds, JobMetrics& metrics, JobEvents& events,
            const Clock& clock, uint64_t seed)
      : pools_(pools),
        table_(table),
        reader_(reader),
        store_(store),
        request_ids_(request_ids),
        kinds_(kinds),
        metrics_(metrics),
        events_(events),
        clock_(clock),
        ids_(seed) {}

  /// Accepts a job and queues it, or answers with the one that the same request
  /// made before. `waiter`, if not null, is told of its end, possibly before this
  /// returns. NOT_FOUND: no such pool, or the job of the same request is not kept
  /// any more; ALREADY_EXISTS: its id is taken; FAILED_PRECONDITION: the request_id
  /// was used for something else; RESOURCE_EXHAUSTED: the queue is full, or another
  /// bound reached; UNAVAILABLE: shutting down. Every refusal is counted.
  absl::StatusOr<Submission> Submit(JobSpec spec, const std::shared_ptr<Waiter>& waiter = nullptr);

  /// Whether Submit may have to wait for a disk: only where the job, or its request, has a
  /// name that is to be looked up there.
  bool MayBlock(const JobSpec& spec) const {
    return events_.writer() != nullptr && (!spec.id.empty() || spec.request.has_value());
  }

  /// Accepts all of `specs` or none, and answers in their order. Errors as of
  /// Submit.
  absl::StatusOr<std::vector<JobHandle>> SubmitAll(std::vector<JobSpec> specs);

  /// Where a request stands in its caller's message, by its index: empty or with a dot at its end.
  using PathOf = absl::FunctionRef<std::string(size_t)>;

  /// Accepts those of `specs` that it can, each by itself as Submit does, and answers in
  /// their order. `waiters`: one for each, none of them twice; null: nobody.
  std::vector<absl::StatusOr<Submission>> SubmitEach(std::vector<JobSpec> specs,
                                                     absl::Span<const std::shared_ptr<Waiter>> waiters,
                                                     PathOf path);

  /// Calls back when jobs that Submit or SubmitAll has given are kept, at once and on this
  /// thread if none is kept on disk; UNAVAILABLE: the store has refused one.
  void AwaitKept(std::vector<JobHandle> jobs, StoreWriter::Done done);

  /// Numbers and ids of jobs go on from there, though the clock may have gone back; to be
  /// called before any is accepted.
  void GoOnAfter(uint64_t last_number, absl::Time last_create_time);

  /// Whether SubmitAll would accept them now; nothing is changed. Answers with
  /// their records as they would be, but for made ids, numbers (0) and times; of a
  /// request that has made its job before, with that job.
  /// `batch`: the paths of violations begin with `requests[N]`.
  absl::StatusOr<std::vector<JobRecord>> Validate(std::vector<JobSpec> specs, bool batch);

  /// The job that the same request has made before, if it has. Errors as of Submit.
  absl::StatusOr<std::optional<JobHandle>> FindMade(const RequestKey& request);

 private:
  // One of the jobs that come in together.
  struct Entry {
    JobRecord record;
    std::optional<RequestKey> request;
    std::function<uint64_t()> caller;
    std::shared_ptr<Waiter> waiter;  // null: none
    Dispatcher* pool = nullptr;
    bool own_id = false;
    size_t first = 0;                // the first entry with the same request; mostly itself
    JobHandle made_before;           // by the same request
    std::shared_ptr<LiveJob> added;  // of a new one that was accepted

    Kind kind() const { return KindOf(record.work); }
    bool WasMade() const { return made_before.live != nullptr || made_before.ended != nullptr; }
    bool IsNew(size_t own_index) const { return first == own_index && !WasMade(); }
  };
  using Entries = absl::InlinedVector<Entry, 1>;

  absl::Status AddEntry(JobSpec spec, Entries& entries);
  // UNAVAILABLE: a new one among them cannot be kept on disk.
  absl::Status CheckStore(const Entries& entries) const;
  // The store has answered for new jobs that came in together: has it not kept them they are stopped.
  void FinishKeeping(const std::vector<std::shared_ptr<LiveJob>>& jobs,
                     const std::vector<RequestId>& requests, const absl::Status& status);
  absl::Status Accept(Entries& entries, PathOf path);
  // Of entries that were accepted.
  static Submission SubmissionOf(const Entries& entries, size_t index);
  // Whether it is likely that all of them would be accepted together.
  bool HasRoom(const Entries& entries) const;
  absl::Status FindMadeBefore(Entries& entries) ABSL_EXCLUSIVE_LOCKS_REQUIRED(request_ids_.mu());
  // How many of the entries are new, for each pool by its index.
  std::vector<int64_t> CountPlaces(const Entries& entries) const;
  static std::array<int64_t, kKindCount> CountKinds(const Entries& entries);
  absl::Status CheckDeadlines(const Entries& entries, PathOf path) const;
  absl::Status Reserve(const Entries& entries);
  void Release(const Entries& entries);
  absl::Status Insert(Entries& entries, PathOf path);
  absl::Status InsertReserved(Entries& entries);
  void Enqueue(const Entries& entries);

  PoolSet& pools_;
  JobTable& table_;
  const JobReader& reader_;
  const JobStore& store_;
  RequestIds& request_ids_;
  KindLimits& kinds_;
  JobMetrics& metrics_;
  JobEvents& events_;
  const Clock& clock_;
  JobIdMaker ids_;
  std::atomic<uint64_t> last_number_{0};  // of `Job-N`
};

}  // namespace jobpool
