#include "server/pipeline/control.h"

#include <algorithm>
#include <utility>

#include "server/base/status_macros.h"
#include "server/job/errors.h"
#include "server/job/resource_name.h"

namespace jobpool {
namespace {

absl::Status EndedError(const std::string& id, JobState state) {
  return JobEndedError(JobName(id), JobStateName(state));
}

absl::Status Apply(const JobUpdate& update, absl::Time now, bool withdrawn, JobRecord& record) {
  const std::string name = JobName(record.id);
  if (!update.etag.empty() && update.etag != record.Etag()) return EtagMismatchError(name, update.etag);
  const bool postponed = update.schedule_time.has_value() && *update.schedule_time > now;
  // One that is queued, but not in the queue any more, is about to run.
  const bool taken = postponed && record.state == JobState::kQueued && !withdrawn;
  if (update.ChangesPlan() && (record.state == JobState::kRunning || taken)) {
    return JobRunningError(name, JobStateName(JobState::kRunning));
  }
  auto options = std::make_shared<JobOptions>(record.Options());
  if (update.display_name.has_value()) options->display_name = *update.display_name;
  if (update.labels.has_value()) options->labels = *update.labels;
  if (update.priority.has_value()) record.priority = *update.priority;
  if (update.deadline_time.has_value()) options->deadline_time = *update.deadline_time;
  if (update.schedule_time.has_value()) options->schedule_time = *update.schedule_time;
  if (postponed) {
    options->ready_time = *update.schedule_time;
    record.state = JobState::kScheduled;
  } else if (update.schedule_time.has_value() && record.state == JobState::kScheduled) {
    options->ready_time = now;
    record.state = JobState::kQueued;
  }
  if (update.deadline_time.has_value() && options->deadline_time <= now) {
    return InvalidFieldsError({{"job.deadline_time", "has passed"}});
  }
  if (update.ChangesPlan() && options->deadline_time <= options->schedule_time) {
    return InvalidFieldsError({{"job.deadline_time", "must be after schedule_time"}});
  }
  record.options = std::move(options);
  return absl::OkStatus();
}

// What the options of `record` hold in memory, beside it.
int64_t OptionBytes(const JobRecord& record) {
  return record.options != nullptr ? static_cast<int64_t>(record.options->Bytes()) : 0;
}

}  // namespace

absl::StatusOr<std::shared_ptr<LiveJob>> Control::Cancel(const std::string& id) {
  JOBPOOL_ASSIGN_OR_RETURN(const JobHandle job, reader_.Find(id));
  if (job.live == nullptr) return EndedError(id, job.ended->state);
  if (const JobState state = job.live->Snapshot().record.state; IsEnded(state)) return EndedError(id, state);
  Cancel(job.live, CancelReason::kRequested);
  if (job.live->left()) return ShuttingDownError();
  return job.live;
}

void Control::Cancel(const std::shared_ptr<LiveJob>& job, CancelReason reason) {
  pools_.Find(job->pool())->Stop(job, reason);
}

void Control::Update(const std::string& id, const JobUpdate& update, Updated done) {
  const absl::StatusOr<JobHandle> found = reader_.Find(id);
  if (!found.ok()) return done(found.status());
  const std::shared_ptr<LiveJob> job = found->live;
  if (job == nullptr) return done(EndedError(id, found->ended->state));
  absl::StatusOr<JobSnapshot> updated = Change(job, update);
  // That it has ended, too, is told when it is kept.
  if (!updated.ok() && !IsEnded(job->EndState())) return done(updated.status());
  AwaitKept(job, [updated = std::move(updated), done = std::move(done)](const absl::Status& kept) {
    done(kept.ok() ? updated : kept);
  });
}

absl::StatusOr<JobSnapshot> Control::Change(const std::shared_ptr<LiveJob>& job, const JobUpdate& update) {
  if (job->durability() == Durability::kDisk) {
    if (const absl::Status health = events_.writer()->health(); !health.ok()) {
      return StoreUnavailableError(health);
    }
  }
  JobSnapshot updated;
  if (update.ChangesPlan()) {
    JOBPOOL_ASSIGN_OR_RETURN(updated, ChangePlan(job, update));
  } else {
    JOBPOOL_ASSIGN_OR_RETURN(Changed changed, ChangeRecord(job, update, /*withdrawn=*/false));
    updated = std::move(changed.job);
  }
  if (update.display_name.has_value() && updated.record.state == JobState::kRunning) {
    registry_.RenameJob(updated.record.attempts.back().thread_id, job->id(),
                        [&] { return job->DisplayName(); });
  }
  return updated;
}

absl::StatusOr<JobSnapshot> Control::ChangePlan(const std::shared_ptr<LiveJob>& job,
                                                const JobUpdate& update) {
  Dispatcher& pool = *pools_.Find(job->pool());
  MutexLock lock(plan_mu_);
  // What is refused anyway must not cost the job its place in the queue.
  JobRecord record = job->Snapshot().record;
  JOBPOOL_RETURN_IF_ERROR(IsEnded(record.state) ? EndedError(record.id, record.state)
                                                : Apply(update, clock_.Now(), /*withdrawn=*/true, record));
  // One that shall wait for its time must not start meanwhile.
  const bool withdrawn =
      update.schedule_time.has_value() && *update.schedule_time > clock_.Now() && pool.Withdraw(*job);
  absl::StatusOr<Changed> changed = ChangeRecord(job, update, withdrawn);
  if (!changed.ok()) {
    if (withdrawn) pool.Enqueue(job);
    return changed.status();
  }
  const JobState after = changed->job.record.state;
  if (withdrawn) {
    pool.Accept(job, after);
  } else if (changed->before == JobState::kScheduled && after == JobState::kQueued) {
    pool.Enqueue(job);
  } else if (update.priority.has_value() && pool.Withdraw(*job)) {
    pool.Enqueue(job);
  }
  if (after == JobState::kScheduled) {
    pool.AwaitTime(job);
  } else {
    timers_.Arm(job);
  }
  return std::move(changed->job);
}

absl::StatusOr<Control::Changed> Control::ChangeRecord(const std::shared_ptr<LiveJob>& job,
                                                       const JobUpdate& update, bool withdrawn) {
  // More than it can grow by is set aside first, so that what has grown is always paid for.
  JobOptions given;
  if (update.display_name.has_value()) given.display_name = *update.display_name;
  if (update.labels.has_value()) given.labels = *update.labels;
  const auto most = static_cast<int64_t>(given.Bytes());
  JOBPOOL_RETURN_IF_ERROR(table_.AddBytes(most));
  int64_t grown = 0;
  absl::Status refused;
  JobState state_before = JobState::kQueued;
  std::optional<JobSnapshot> updated;
  table_.Change(*job, [&] {
    updated = job->Update(
        [&](JobRecord& record) {
          const int64_t before = OptionBytes(record);
          state_before = record.state;
          refused = Apply(update, clock_.Now(), withdrawn, record);
          grown = refused.ok() ? OptionBytes(record) - before : 0;
          return refused.ok();
        },
        &events_);
    return updated.has_value();
  });
  table_.AddBytes(grown - most).IgnoreError();  // it is less
  JOBPOOL_RETURN_IF_ERROR(refused);
  if (!updated.has_value()) {
    return job->left() ? ShuttingDownError() : EndedError(job->id(), job->EndState());
  }
  return Changed{*std::move(updated), state_before};
}

// One that has ended since it was found has left the table with that: look again.
absl::StatusOr<EndedJob> Control::FindEnded(const std::string& id) const {
  for (;;) {
    JOBPOOL_ASSIGN_OR_RETURN(const JobHandle job, reader_.Find(id));
    if (job.live == nullptr) return job.ended;
    const JobState state = job.live->Snapshot().record.state;
    if (!IsEnded(state)) return JobNotEndedError(JobName(id), JobStateName(state));
  }
}

absl::StatusOr<JobSpec> Control::SpecOfRetry(const std::string& id) const {
  JOBPOOL_ASSIGN_OR_RETURN(const EndedJob job, FindEnded(id));
  JobSpec spec;
  spec.work = job->work;
  spec.pool = *job->pool;
  spec.daemon = job->daemon;
  spec.durability = job->durability;
  spec.isolation = job->isolation;
  spec.priority = job->priority;
  spec.options = job->Options();
  spec.options.schedule_time = absl::InfinitePast();
  spec.options.ready_time = absl::InfinitePast();
  spec.options.deadline_time = absl::InfiniteFuture();
  spec.options.retry_of = id;
  return spec;
}

void Control::Delete(const std::string& id, StoreWriter::Done done) {
  const absl::StatusOr<EndedJob> ended = FindEnded(id);
  if (!ended.ok()) {
    done(ended.status());
    return;
  }
  auto finish = [this, job = *ended, done = std::move(done)](const absl::StatusOr<bool>& deleted) {
    if (deleted.ok() && *deleted) {
      events_.Record(JobEventType::kDeleted, job, nullptr, job->outcome->progress);
    }
    done(!deleted.ok() ? deleted.status() : *deleted ? absl::OkStatus() : JobNotFoundError(JobName(job->id)));
  };
  if ((*ended)->durability != Durability::kDisk) {
    finish(store_.Delete(id));
    return;
  }
  events_.writer()->Delete(id, [finish = std::move(finish)](const absl::StatusOr<bool>& deleted) {
    finish(deleted.ok() ? deleted : StoreError(deleted.status()));
  });
}

size_t Control::CancelWhere(const std::function<bool(const LiveJob&)>& chosen, CancelReason reason) {
  std::vector<std::shared_ptr<LiveJob>> jobs = table_.All();
  jobs.erase(
      std::remove_if(jobs.begin(), jobs.end(), [&](const auto& job) { return job->left() || !chosen(*job); }),
      jobs.end());
  // Those that run last: a worker that one of them leaves shall not take another of them meanwhile.
  std::stable_partition(jobs.begin(), jobs.end(),
                        [](const auto& job) { return job->EndState() != JobState::kRunning; });
  for (const std::shared_ptr<LiveJob>& job : jobs) Cancel(job, reason);
  return jobs.size();
}

size_t Control::LeaveKept() {
  size_t count = 0;
  for (const std::shared_ptr<LiveJob>& job : table_.All()) {
    pools_.Find(job->pool())->Leave(job);
    count += job->left() ? 1 : 0;
  }
  return count;
}

void Control::AwaitKept(const std::shared_ptr<LiveJob>& job, StoreWriter::Done done) const {
  if (job->durability() != Durability::kDisk) {
    done(absl::OkStatus());
    return;
  }
  const StoreWriter& writer = *events_.writer();
  events_.writer()->Flush([job, done = std::move(done), &writer](const absl::Status& status) {
    const bool refused = job->keeping() == LiveJob::Keeping::kRefused;
    const absl::Status kept = status.ok() && refused ? writer.last_refusal() : status;
    done(kept.ok() ? kept : StoreUnavailableError(kept));
  });
}

size_t Control::CancelLaterThan(absl::Time time, CancelReason reason) {
  for (const auto& pool : pools_.all()) pool->SetLastReadyTime(time);
  return CancelWhere(
      [&](const LiveJob& job) {
        const JobState state = job.EndState();
        if (state == JobState::kScheduled && job.ReadyTime() > time) return true;
        const bool waits = state == JobState::kScheduled || state == JobState::kQueued;
        return waits && pools_.Find(job.pool())->state() == PoolState::kPaused;
      },
      reason);
}

}  // namespace jobpool
