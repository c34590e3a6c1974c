#include "server/pipeline/admission.h"

#include <utility>

#include "server/base/status_macros.h"
#include "server/job/errors.h"
#include "server/job/resource_name.h"

namespace jobpool {
namespace {

RejectReason ReasonOf(const absl::Status& refused) {
  switch (refused.code()) {
    case absl::StatusCode::kNotFound:
      return RejectReason::kPoolNotFound;
    case absl::StatusCode::kAlreadyExists:
      return RejectReason::kJobExists;
    case absl::StatusCode::kResourceExhausted:
      return RejectReason::kQueueFull;
    default:
      return RejectReason::kShuttingDown;
  }
}

}  // namespace

absl::StatusOr<std::shared_ptr<LiveJob>> Admission::Submit(JobSpec spec, std::shared_ptr<Waiter> waiter) {
  absl::StatusOr<std::shared_ptr<LiveJob>> job = TrySubmit(std::move(spec), std::move(waiter));
  if (!job.ok()) metrics_.Rejected(ReasonOf(job.status()));
  return job;
}

absl::StatusOr<std::shared_ptr<LiveJob>> Admission::TrySubmit(JobSpec spec, std::shared_ptr<Waiter> waiter) {
  if (spec.pool.empty()) spec.pool = PoolSet::DefaultPool(KindOf(spec.work));
  Dispatcher* const pool = pools_.Find(spec.pool);
  if (pool == nullptr) return PoolNotFoundError(PoolName(spec.pool));
  JOBPOOL_RETURN_IF_ERROR(pool->Reserve());

  const bool own_id = !spec.id.empty();
  JobRecord record;
  record.id = std::move(spec.id);
  record.work = std::move(spec.work);
  record.pool = std::move(spec.pool);
  record.daemon = spec.daemon;
  const JobOptions& options = spec.options;
  if (!options.display_name.empty() || !options.labels.empty() || options.retention != kDefaultRetention) {
    record.options = std::make_shared<const JobOptions>(std::move(spec.options));
  }
  absl::StatusOr<std::shared_ptr<LiveJob>> job = Insert(record, own_id, waiter);
  if (!job.ok()) {
    pool->Release();
    return job;
  }
  metrics_.Submitted(static_cast<size_t>((*job)->kind()), pool->index());
  pool->Enqueue(*job);
  return job;
}

// Into the table first, then a look at the store: an ended job leaves the table
// only after it has come into the store, so that two jobs with one id would meet.
absl::StatusOr<std::shared_ptr<LiveJob>> Admission::Insert(const JobRecord& record, bool own_id,
                                                           const std::shared_ptr<Waiter>& waiter) {
  const uint64_t number = last_number_.fetch_add(1, std::memory_order_relaxed) + 1;
  for (;;) {
    JobRecord made = record;
    made.number = number;
    made.create_time = clock_.Now();
    if (!own_id) made.id = ids_.Next(made.create_time);
    auto job = std::make_shared<LiveJob>(std::move(made));
    if (waiter != nullptr) job->AddWaiter(waiter);
    absl::Status inserted = table_.Insert(job);
    if (inserted.ok()) {
      absl::StatusOr<EndedJob> ended = store_.Get(job->id());
      if (ended.ok() && *ended == nullptr) return job;
      table_.Erase(*job);
      inserted = ended.ok() ? JobExistsError(JobName(job->id())) : ended.status();
    }
    if (own_id || !absl::IsAlreadyExists(inserted)) return inserted;
  }
}

}  // namespace jobpool
