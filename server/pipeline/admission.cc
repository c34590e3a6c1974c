#include "server/pipeline/admission.h"

#include <utility>

#include "server/job/errors.h"
#include "server/job/resource_name.h"

namespace jobpool {
namespace {

RejectReason WhyNotInserted(const absl::Status& refused) {
  switch (refused.code()) {
    case absl::StatusCode::kAlreadyExists:
      return RejectReason::kJobExists;
    case absl::StatusCode::kResourceExhausted:
      return RejectReason::kPayloadsFull;
    default:
      return RejectReason::kShuttingDown;
  }
}

}  // namespace

absl::StatusOr<std::shared_ptr<LiveJob>> Admission::Submit(JobSpec spec, std::shared_ptr<Waiter> waiter) {
  if (spec.pool.empty()) spec.pool = PoolSet::DefaultPool(KindOf(spec.work));
  Dispatcher* const pool = pools_.Find(spec.pool);
  if (pool == nullptr) {
    metrics_.Rejected(RejectReason::kPoolNotFound);
    return PoolNotFoundError(PoolName(spec.pool));
  }
  if (absl::Status reserved = pool->Reserve(); !reserved.ok()) {
    metrics_.Rejected(RejectReason::kQueueFull);
    return reserved;
  }

  const bool own_id = !spec.id.empty();
  JobRecord record;
  record.id = std::move(spec.id);
  record.work = std::move(spec.work);
  record.pool = pool->name();
  record.daemon = spec.daemon;
  const JobOptions& options = spec.options;
  if (!options.display_name.empty() || !options.labels.empty() || options.retention != kDefaultRetention) {
    record.options = std::make_shared<const JobOptions>(std::move(spec.options));
  }
  absl::StatusOr<std::shared_ptr<LiveJob>> job = Insert(record, own_id, waiter);
  if (!job.ok()) {
    pool->Release();
    metrics_.Rejected(WhyNotInserted(job.status()));
    return job;
  }
  metrics_.Submitted(static_cast<size_t>((*job)->kind()), pool->index());
  pool->Enqueue(*job);
  // Who cancelled it between the table and the queue could not take it out of there.
  if (IsEnded((*job)->EndState())) pool->Remove(**job);
  return job;
}

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
    absl::Status inserted = table_.Insert(job, &store_);
    if (inserted.ok()) return job;
    if (own_id || !absl::IsAlreadyExists(inserted)) return inserted;
  }
}

}  // namespace jobpool
