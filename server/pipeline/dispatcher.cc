#include "server/pipeline/dispatcher.h"

#include <algorithm>
#include <exception>
#include <new>
#include <unistd.h>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/base/bounded_add.h"
#include "server/job/errors.h"
#include "server/job/resource_name.h"

namespace jobpool {
namespace {

ThreadPoolSize SizeOf(const PoolOptions& pool) {
  return {pool.min_threads, pool.max_threads, pool.idle_timeout};
}

absl::StatusOr<Result> RunHandler(const Handler& handler, const Work& work, RunControl& control) {
  HandlerContext context{control.cancel, control.progress};
  try {
    return handler.Run(work, context);
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError("out of memory");
  } catch (const std::exception& e) {
    return absl::InternalError(absl::StrCat("exception: ", e.what()));
  } catch (...) {
    return absl::InternalError("unknown exception");
  }
}

// How the attempt turned out: the state that it leads to, and why.
JobState Judge(absl::StatusOr<Result> result, const CancelToken& cancel, Outcome* outcome) {
  if (result.ok()) {
    outcome->result = *std::move(result);
    return JobState::kSucceeded;
  }
  if (absl::IsCancelled(result.status()) && cancel.cancelled()) {
    outcome->error = JobCancelledError(cancel.reason());
    return JobState::kCancelled;
  }
  outcome->error = WorkFailedError(result.status());
  return JobState::kFailed;
}

}  // namespace

Dispatcher::Dispatcher(PoolOptions options, size_t index, const Dependencies& dependencies)
    : name_(std::make_shared<const std::string>(options.name)),
      index_(index),
      to_(dependencies),
      max_queued_jobs_(options.max_queued_jobs),
      options_(std::move(options)),
      executor_(std::make_unique<ThreadPool>(ThreadPoolOptions{*name_, ThreadRole::kWorker, SizeOf(options_)},
                                             to_.registry, *this, to_.clock)) {}

Dispatcher::~Dispatcher() { Stop(); }

absl::Status Dispatcher::Reserve(int64_t places) {
  const int64_t max = max_queued_jobs_.load();
  if (AddUpTo(reserved_, places, max)) return absl::OkStatus();
  return QueueFull(std::max<int64_t>(1, reserved_.load() + places - max));
}

void Dispatcher::Release(int64_t places) { reserved_.fetch_sub(places); }

absl::Status Dispatcher::CheckRoom(int64_t places) const {
  const int64_t missing = reserved_.load() + places - max_queued_jobs_.load();
  return missing <= 0 || places == 0 ? absl::OkStatus() : QueueFull(missing);
}

void Dispatcher::Enqueue(std::shared_ptr<LiveJob> job) {
  {
    MutexLock lock(mu_);
    if (queue_.size() == 0) last_take_ = to_.clock.Monotonic();
    queue_.Push(std::move(job));
    ready_.store(static_cast<int64_t>(queue_.size()));
  }
  executor_->Notify();
}

void Dispatcher::Remove(LiveJob& job) {
  MutexLock lock(mu_);
  if (!queue_.Remove(job)) return;
  ready_.store(static_cast<int64_t>(queue_.size()));
  reserved_.fetch_sub(1);
}

PoolLoad Dispatcher::Load() const {
  PoolLoad load;
  load.running_jobs = running_.load();
  MutexLock lock(mu_);
  load.queued_jobs = static_cast<int64_t>(queue_.size());
  if (queue_.front() != nullptr) load.oldest_queued_time = queue_.front()->create_time();
  return load;
}

void Dispatcher::Kick() {
  if (HasWork()) executor_->Notify();
}

PoolOptions Dispatcher::options() const {
  MutexLock lock(mu_);
  return options_;
}

void Dispatcher::Reconfigure(const PoolOptions& options) {
  {
    MutexLock lock(mu_);
    options_ = options;
    options_.name = *name_;
  }
  max_queued_jobs_.store(options.max_queued_jobs);
  executor_->Resize(SizeOf(options));
  // Where there may be more workers now, what waits has told the executor of itself in vain.
  const int64_t waiting = std::min<int64_t>(ready_.load(), options.max_threads);
  for (int64_t i = 0; i < waiting; ++i) executor_->Notify();
}

void Dispatcher::Stop() { executor_->Stop(); }

std::shared_ptr<LiveJob> Dispatcher::Take() {
  MutexLock lock(mu_);
  std::shared_ptr<LiveJob> job = queue_.Pop();
  if (job == nullptr) return nullptr;
  ready_.store(static_cast<int64_t>(queue_.size()));
  reserved_.fetch_sub(1);
  // Only while jobs wait does the time between two takes say how fast they go.
  if (queue_.size() == 0) {
    last_take_.reset();
  } else {
    const MonotonicTime now = to_.clock.Monotonic();
    if (last_take_.has_value()) {
      const double interval = std::chrono::duration<double>(now - *last_take_).count();
      take_interval_seconds_ += (std::min(interval, 60.0) - take_interval_seconds_) / 16;
    }
    last_take_ = now;
  }
  return job;
}

// A full queue has room again when as many jobs as places are missing have been taken from it; the bounds
// keep clients from hammering, and from giving up.
absl::Status Dispatcher::QueueFull(int64_t missing_places) const {
  double interval = 0;
  {
    MutexLock lock(mu_);
    if (last_take_.has_value()) {
      interval = std::chrono::duration<double>(to_.clock.Monotonic() - *last_take_).count();
    }
    interval = std::max(interval, take_interval_seconds_);
  }
  const double delay = std::clamp(interval * static_cast<double>(missing_places), 0.1, 60.0);
  return QueueFullError(PoolName(*name_), max_queued_jobs_.load(), absl::Seconds(delay));
}

bool Dispatcher::RunOne(RegisteredThread& worker) {
  const std::shared_ptr<LiveJob> job = Take();
  if (job == nullptr) return false;

  const std::string display_name = job->DisplayName();
  Attempt attempt;
  attempt.thread_id = worker.id();
  attempt.thread_display_name = worker.display_name();
  attempt.os_thread_id = worker.os_thread_id();
  attempt.process_id = getpid();
  attempt.start_time = to_.clock.Now();
  const absl::Time start_time = attempt.start_time;
  const auto control = std::make_shared<RunControl>();
  // Roll call shows the job from before it says that it runs until it is about
  // to say that it has ended.
  worker.BeginJob({job->id(), display_name, job->daemon(), start_time});
  running_.fetch_add(1);
  if (!to_.table.Change(*job,
                        [&] { return job->Start(std::move(attempt), control); })) {  // cancelled while queued
    running_.fetch_sub(1);
    worker.EndJob(/*ran=*/false);
    return true;
  }
  to_.log.Started(job->id(), display_name, job->kind(), worker);
  if (job->DisplayName() != display_name) {  // was renamed meanwhile
    to_.registry.RenameJob(worker.id(), job->id(), [&] { return job->DisplayName(); });
  }
  to_.metrics.Started(index_, start_time - job->create_time());

  const ThreadUsage before = ThreadUsage::Now();
  absl::StatusOr<Result> result = RunHandler(to_.handlers.Find(job->kind()), job->work(), *control);
  const ThreadUsage after = ThreadUsage::Now();

  Outcome outcome;
  outcome.end_time = to_.clock.Now();
  const JobState end = Judge(std::move(result), control->cancel, &outcome);
  running_.fetch_sub(1);
  worker.EndJob(/*ran=*/true);
  to_.completion.End(job, JobState::kRunning, end, {after.user - before.user, after.system - before.system},
                     std::move(outcome));
  return true;
}

}  // namespace jobpool
