#include "server/pipeline/dispatcher.h"

#include <algorithm>
#include <csignal>
#include <optional>
#include <unistd.h>
#include <utility>

#include "server/base/bounded_add.h"
#include "server/job/errors.h"
#include "server/job/resource_name.h"

namespace jobpool {
namespace {

// Under one lock, for which workers wait.
constexpr size_t kQueuedAtOnce = 128;
// From SIGTERM to SIGKILL.
constexpr absl::Duration kTerminateGrace = absl::Seconds(1);
// From SIGKILL to giving up.
constexpr absl::Duration kKillGrace = absl::Seconds(5);
// Until a process is ended by force when the server ends, which does not wait for long.
constexpr absl::Duration kInterruptGrace = absl::Seconds(2);

ThreadPoolSize SizeOf(const PoolOptions& pool) {
  return {pool.min_threads, pool.max_threads, pool.idle_timeout};
}

// The state that a job ends in that was asked to end, and why.
JobState EndOf(CancelReason reason, const JobOptions& options, absl::Status* error) {
  switch (reason) {
    case CancelReason::kTimeout:
      *error = AttemptTimedOutError(options.timeout);
      return JobState::kFailed;
    case CancelReason::kDeadline:
      *error = DeadlinePassedError(options.deadline_time);
      return JobState::kFailed;
    default:
      *error = JobCancelledError(reason);
      return JobState::kCancelled;
  }
}

// How the attempt turned out: the state that it leads to, and why.
JobState Judge(absl::StatusOr<Result> result, std::optional<Result> result_of_failure,
               const CancelToken& cancel, const JobOptions& options, Outcome* outcome) {
  if (result.ok()) {
    outcome->result = *std::move(result);
    return JobState::kSucceeded;
  }
  outcome->result = std::move(result_of_failure);
  if (absl::IsCancelled(result.status()) && cancel.cancelled()) {
    return EndOf(cancel.reason(), options, &outcome->error);
  }
  // What has its reason keeps it.
  outcome->error = ReasonOf(result.status()).empty() ? WorkFailedError(result.status()) : result.status();
  return JobState::kFailed;
}

}  // namespace

Dispatcher::Dispatcher(PoolOptions options, size_t index, const Dependencies& dependencies)
    : name_(std::make_shared<const std::string>(options.name)),
      index_(index),
      to_(dependencies),
      clock_(dependencies.timer.clock()),
      last_ready_time_(absl::ToUnixNanos(absl::InfiniteFuture())),
      options_(std::move(options)),
      starts_(kStartBurst, options_.max_starts_per_second),
      submits_(kSubmitBurst, options_.max_submits_per_second),
      executor_(std::make_unique<ThreadPool>(ThreadPoolOptions{*name_, ThreadRole::kWorker, SizeOf(options_)},
                                             to_.registry, *this, clock_)) {}

Dispatcher::~Dispatcher() { StopWorkers(); }

// The rate is asked first, so that who is refused for it keeps its slot.
absl::Status Dispatcher::Reserve(int64_t places, const std::function<uint64_t()>& caller) {
  if (places == 0) return absl::OkStatus();
  MutexLock lock(mu_);
  if (state_ == PoolState::kDraining) return PoolDrainingError(PoolName(*name_));
  const MonotonicTime now = clock_.Monotonic();
  if (!submits_.Allows(now, places)) {
    return RateReachedError(PoolName(*name_), submits_.rate(),
                            absl::FromChrono(submits_.NextTime(now, places) - now));
  }
  const int64_t max = options_.max_queued_jobs;
  // What can never fit has no time to come again, and others do not wait for it.
  if (places > max) return QueueFullError(PoolName(*name_), max, RetrySlots::kMaxDelay);
  const absl::Duration interval = drain_rate_.Interval(now);
  // Who comes matters only where somebody was refused, and to find out costs a microsecond.
  std::optional<uint64_t> known;
  const auto who = [&] {
    if (!known.has_value()) known = caller ? caller() : 0;
    return *known;
  };
  const bool admitted =
      slots_.empty() || slots_.Admit(who(), now, places, max - reserved_.load(), max, interval);
  if (!admitted || !AddUpTo(reserved_, places, max)) {
    return QueueFullError(PoolName(*name_), max, slots_.Refuse(who(), now, places, interval));
  }
  submits_.Take(now, places);
  return absl::OkStatus();
}

void Dispatcher::Release(int64_t places) { reserved_.fetch_sub(places); }

void Dispatcher::TakeBack(int64_t places) {
  Release(places);
  MutexLock lock(mu_);
  submits_.GiveBack(places);
}

absl::Status Dispatcher::CheckRoom(int64_t places) const {
  if (places == 0) return absl::OkStatus();
  MutexLock lock(mu_);
  if (state_ == PoolState::kDraining) return PoolDrainingError(PoolName(*name_));
  const int64_t missing = reserved_.load() + places - options_.max_queued_jobs;
  if (missing <= 0) return absl::OkStatus();
  const absl::Duration delay =
      std::clamp(drain_rate_.Interval(clock_.Monotonic()) * static_cast<double>(missing),
                 RetrySlots::kMinDelay, RetrySlots::kMaxDelay);
  return QueueFullError(PoolName(*name_), options_.max_queued_jobs, delay);
}

void Dispatcher::Accept(const std::shared_ptr<LiveJob>& job, JobState given) {
  if (given == JobState::kScheduled) {
    AwaitTime(job);
    return;
  }
  AcceptQueued(absl::MakeConstSpan(&job, 1));
}

void Dispatcher::AcceptQueued(absl::Span<const std::shared_ptr<LiveJob>> jobs) {
  for (const auto& job : jobs) {
    if (job->Options()->deadline_time != absl::InfiniteFuture()) to_.job_timers.Arm(job);
  }
  Enqueue(jobs);
}

void Dispatcher::AwaitTime(const std::shared_ptr<LiveJob>& job) {
  to_.job_timers.Arm(job);
  if (job->ReadyTime() > absl::FromUnixNanos(last_ready_time_.load())) Stop(job, CancelReason::kInterrupted);
}

void Dispatcher::MakeReady(const std::shared_ptr<LiveJob>& job) {
  if (!to_.table.Change(*job, [&] { return job->MakeReady(clock_.Now(), &to_.events); })) {
    // The time of day has gone back since the timer was due, or another was set.
    if (job->EndState() == JobState::kScheduled) to_.job_timers.Arm(job);
    return;
  }
  Enqueue(job);
}

void Dispatcher::Expire(const std::shared_ptr<LiveJob>& job) {
  if (clock_.Now() < job->Options()->deadline_time) {
    to_.job_timers.Arm(job);
  } else {
    Stop(job, CancelReason::kDeadline);
  }
}

void Dispatcher::Enqueue(absl::Span<const std::shared_ptr<LiveJob>> jobs) {
  for (; !jobs.empty(); jobs.remove_prefix(std::min(jobs.size(), kQueuedAtOnce))) {
    const auto some = jobs.subspan(0, kQueuedAtOnce);
    {
      MutexLock lock(mu_);
      if (queue_.size() == 0) drain_rate_.Begin(clock_.Monotonic());
      for (const auto& job : some) queue_.Push(job, job->priority());
      if (some.size() > 1) pass_on_ = true;
      CountReady();
    }
    executor_->Notify();
    // Who ended one before it was in the queue could not take it out of there.
    for (const auto& job : some) {
      if (job->IsOver() && Withdraw(*job)) Release(1);
    }
  }
}

bool Dispatcher::Withdraw(LiveJob& job) {
  MutexLock lock(mu_);
  if (!queue_.Remove(job)) return false;
  if (queue_.size() == 0) drain_rate_.End();
  CountReady();
  return true;
}

void Dispatcher::CountReady() {
  const bool none = starts_held_ || state_ == PoolState::kPaused || rate_timer_.has_value() ||
                    queue_.Next(held_) == nullptr;
  ready_.store(none ? 0 : static_cast<int64_t>(queue_.size()));
  if (none && queue_.size() > 0) pass_on_ = true;
}

void Dispatcher::NotifyReady() {
  {
    MutexLock lock(mu_);
    pass_on_ = true;
    CountReady();
  }
  if (HasWork()) executor_->Notify();
}

void Dispatcher::LetGo(Kind kind) {
  {
    MutexLock lock(mu_);
    held_.reset(static_cast<size_t>(kind));
  }
  NotifyReady();
}

// What has just come is for the worker that has just been started for it, which may be yet to look.
void Dispatcher::Kick() {
  const bool has_work = HasWork();
  if (had_work_.exchange(has_work) && has_work) executor_->Notify();
}

void Dispatcher::SetState(PoolState state) {
  {
    MutexLock lock(mu_);
    state_ = state;
  }
  NotifyReady();
}

void Dispatcher::HoldStarts(bool held) {
  {
    MutexLock lock(mu_);
    starts_held_ = held;
  }
  NotifyReady();
}

bool Dispatcher::crowded() const {
  MutexLock lock(mu_);
  return !slots_.empty();
}

PoolState Dispatcher::state() const {
  MutexLock lock(mu_);
  return state_;
}

PoolLoad Dispatcher::Load() const {
  PoolLoad load;
  const JobTable::Count jobs = to_.table.CountOf(*name_);
  load.scheduled_jobs = jobs.scheduled;
  load.queued_jobs = jobs.queued;
  load.running_jobs = jobs.running;
  const ThreadPoolLoad workers = executor_->Load();
  load.threads = workers.threads + workers.lost;
  load.idle_threads = workers.idle;
  load.lost_threads = workers.lost;
  load.retiring_threads = workers.lost + workers.beyond_max;
  MutexLock lock(mu_);
  load.oldest_queued_time = queue_.OldestReadyTime();
  return load;
}

QueuePlace Dispatcher::PlaceOf(const LiveJob& job) const {
  QueuePlace place;
  const ThreadPoolLoad workers = executor_->Load();
  MutexLock lock(mu_);
  place.ahead = queue_.Ahead(job);
  place.state = state_;
  place.kind_held = held_[static_cast<size_t>(job.kind())];
  place.rate_reached = rate_timer_.has_value();
  // Not by the jobs that run: one that was abandoned can still hold its thread.
  place.all_workers_busy = workers.idle == 0 && workers.threads >= options_.max_threads;
  if (drain_rate_.measured()) place.interval = drain_rate_.Interval(clock_.Monotonic());
  return place;
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
    starts_.SetRate(options.max_starts_per_second);
    submits_.SetRate(options.max_submits_per_second);
    if (rate_timer_.has_value()) to_.timer.Cancel(*std::exchange(rate_timer_, std::nullopt));
  }
  executor_->Resize(SizeOf(options));
  NotifyReady();
}

void Dispatcher::StopWorkers() { executor_->Stop(); }

std::shared_ptr<LiveJob> Dispatcher::Take() {
  std::shared_ptr<LiveJob> job;
  bool pass_on = false;
  {
    MutexLock lock(mu_);
    if (ready_.load() == 0) return nullptr;
    const MonotonicTime now = clock_.Monotonic();
    if (!starts_.Allows(now)) {
      rate_timer_ = to_.timer.At(starts_.NextTime(now), [this] {
        {
          MutexLock timer_lock(mu_);
          rate_timer_.reset();
        }
        NotifyReady();
      });
      CountReady();
      return nullptr;
    }
    for (const LiveJob* next = queue_.Next(held_); next != nullptr; next = queue_.Next(held_)) {
      if (to_.kinds.TryStart(next->kind(), *this)) {
        job = queue_.Take(held_);
        break;
      }
      held_.set(static_cast<size_t>(next->kind()));
    }
    if (job != nullptr) {
      starts_.Take(now);
      reserved_.fetch_sub(1);
      if (queue_.size() > 0) {
        drain_rate_.Took(now);
      } else {
        drain_rate_.End();
        pass_on_ = false;
      }
    }
    CountReady();
    pass_on = pass_on_ && ready_.load() > 0;
  }
  if (pass_on) executor_->Notify();
  return job;
}

bool Dispatcher::RunOne(RegisteredThread& worker) {
  const std::shared_ptr<LiveJob> job = Take();
  if (job == nullptr) return false;

  const std::shared_ptr<const JobOptions> named_by = job->Options();
  const std::string display_name = job->DisplayName();
  Attempt attempt;
  attempt.thread_id = worker.id();
  attempt.thread_display_name = worker.display_name();
  attempt.os_thread_id = worker.os_thread_id();
  attempt.process_id = worker.process_id();
  // It waits for the process, from here to the end.
  if (job->isolation() == Isolation::kProcess) worker.SetRunning(true);
  absl::StatusOr<AttemptRunner::Process> process = to_.runner.TakeProcess(*job);
  RegistryEntry* shown = &worker;  // who runs the job
  if (process.ok() && *process != nullptr) {
    shown = &(*process)->entry();
    attempt.thread_id = shown->id();
    attempt.thread_display_name = shown->display_name();
    attempt.os_thread_id = shown->os_thread_id();
    attempt.process_id = shown->process_id();
  }
  attempt.start_time = clock_.Now();
  const absl::Time start_time = attempt.start_time;
  const auto control = std::make_shared<RunControl>();
  control->worker_thread_id = worker.id();
  control->progress.set_observer([this, job = job.get()] {
    if (to_.events.active()) job->TellProgress(to_.events);
  });
  // Roll call shows the job from before it says that it runs until it is about
  // to say that it has ended.
  shown->BeginJob({job->id(), display_name, job->daemon(), start_time, shown == &worker ? "" : *name_});
  bool late = false;  // seen under the lock of updates, which may give it more time
  const bool started = to_.table.Change(*job, [&] {
    const std::shared_ptr<const JobOptions> options = job->Options();
    late = options->deadline_time <= start_time;
    if (!late && options != named_by && job->DisplayName() != display_name) {  // was renamed meanwhile
      to_.registry.RenameJob(shown->id(), job->id(), [&] { return job->DisplayName(); });
    }
    return !late && job->Start(std::move(attempt), control, &to_.events);
  });
  if (!started) {
    // Cancelled, or scheduled for later, while queued, or too late.
    to_.kinds.Ended(job->kind());
    shown->EndJob(/*ran=*/false);
    worker.EndJob(/*ran=*/false);
    if (late) Stop(job, CancelReason::kDeadline);
    return true;
  }
  to_.log.Started(job->id(), display_name, job->kind(), *shown);
  to_.metrics.Started(index_, start_time - job->ReadyTime());
  std::optional<Timer::Id> timeout;
  const std::shared_ptr<const JobOptions> options = job->Options();
  if (options->timeout != absl::InfiniteDuration()) {
    timeout = to_.timer.At(Later(clock_.Monotonic(), options->timeout), [this, job, control] {
      const Asked asked =
          job->AskToEnd(CancelReason::kTimeout, clock_.Now(), control.get(), to_.events.writer());
      if (asked.attempt != nullptr) SetGraceTimer(job, control);
    });
  }

  const absl::Time deadline = std::min(options->deadline_time, start_time + options->timeout);
  AttemptEnd attempt_end =
      to_.runner.Run(*job, *control, {job->id(), display_name, control->number, deadline}, process);

  if (timeout.has_value()) to_.timer.Cancel(*timeout);
  const bool abandoned = control->decided.exchange(true);
  control->Leave();
  // Now nobody loses patience while a process ends; and when the end is told, nothing is left of that.
  process = nullptr;
  worker.EndJob(/*ran=*/true);
  if (abandoned) {
    to_.metrics.LateCompletion();
  } else {
    FinishAttempt(job, *control, std::move(attempt_end));
  }
  if (job->durability() == Durability::kDisk) to_.events.writer()->AwaitRoom();
  return true;
}

void Dispatcher::FinishAttempt(const std::shared_ptr<LiveJob>& job, RunControl& control, AttemptEnd attempt) {
  if (std::optional<Timer::Id> grace = control.TakeGraceTimer(); grace.has_value()) to_.timer.Cancel(*grace);
  Outcome outcome;
  outcome.end_time = clock_.Now();
  const std::shared_ptr<const JobOptions> options = job->Options();
  const ResourceUsage usage = attempt.usage;
  JobState end = Judge(std::move(attempt.result), std::move(attempt.result_of_failure), control.cancel,
                       *options, &outcome);
  to_.kinds.Ended(job->kind());
  if (end == JobState::kCancelled && control.cancel.reason() == CancelReason::kInterrupted &&
      TryInterrupt(job, control, outcome, usage)) {
    return;
  }
  if (end == JobState::kFailed && control.counted_attempts < options->retry.max_attempts) {
    if (TryRetry(job, control, outcome, usage)) return;
    // It may have been asked to end for good since it was judged.
    const CancelReason reason = control.cancel.reason();
    if (reason == CancelReason::kInterrupted && TryInterrupt(job, control, outcome, usage)) return;
    if (reason != CancelReason::kNone && reason != CancelReason::kTimeout) {
      end = EndOf(reason, *options, &outcome.error);
    }
  }
  to_.completion.End(job, JobState::kRunning, end, usage, std::move(outcome));
}

bool Dispatcher::TryRetry(const std::shared_ptr<LiveJob>& job, const RunControl& control,
                          const Outcome& outcome, ResourceUsage usage) {
  // It was accepted once: a full queue does not keep it out.
  reserved_.fetch_add(1);
  JobRecord retried;
  const bool changed = to_.table.Change(*job, [&] {
    return job->Retry(control, outcome.end_time, usage, outcome.error, to_.random(), &to_.events, &retried);
  });
  if (!changed) {
    reserved_.fetch_sub(1);
    return false;
  }
  to_.completion.Retried(retried);
  AwaitTime(job);
  return true;
}

// A daemon has ended with the server.
bool Dispatcher::TryInterrupt(const std::shared_ptr<LiveJob>& job, const RunControl& control,
                              const Outcome& outcome, ResourceUsage usage) {
  if (job->daemon() || job->durability() != Durability::kDisk) return false;
  const bool changed = to_.table.Change(
      *job, [&] { return job->Interrupt(control, outcome.end_time, usage, outcome.error, &to_.events); });
  if (!changed) return false;
  to_.completion.Interrupted(job->Snapshot().record);
  // Else the store has just refused it.
  if (!to_.completion.Leave(job)) Stop(job, CancelReason::kNotKept);
  return true;
}

void Dispatcher::Leave(const std::shared_ptr<LiveJob>& job) {
  if (to_.completion.Leave(job) && Withdraw(*job)) Release(1);
}

void Dispatcher::Stop(const std::shared_ptr<LiveJob>& job, CancelReason reason) {
  if (reason == CancelReason::kInterrupted) Leave(job);
  for (;;) {
    const absl::Time now = clock_.Now();
    const Asked asked = job->AskToEnd(reason, now, nullptr, to_.events.writer());
    if (asked.attempt != nullptr) SetGraceTimer(job, asked.attempt);
    if (reason == CancelReason::kInterrupted && asked.asked_before != nullptr)
      Hasten(job, asked.asked_before);
    if (IsEnded(asked.state) || asked.state == JobState::kRunning) return;
    Outcome outcome;
    outcome.end_time = now;
    const JobState end = EndOf(reason, *job->Options(), &outcome.error);
    if (to_.completion.End(job, asked.state, end, {}, std::move(outcome))) {
      if (asked.state == JobState::kScheduled) {
        Release(1);
      } else if (Withdraw(*job)) {
        Release(1);
      }
      return;
    }
    // Its state has changed meanwhile.
  }
}

void Dispatcher::SetGraceTimer(const std::shared_ptr<LiveJob>& job, const Control& control) {
  absl::Duration grace = options().stop_grace;
  if (job->isolation() == Isolation::kProcess && control->cancel.reason() == CancelReason::kInterrupted) {
    grace = std::min(grace, kInterruptGrace);
  }
  SetGraceTimer(job, control, grace);
}

void Dispatcher::SetGraceTimer(const std::shared_ptr<LiveJob>& job, const Control& control,
                               absl::Duration grace) {
  control->SetGraceTimer(
      to_.timer.At(Later(clock_.Monotonic(), grace), [this, job, control] { Escalate(job, control); }));
  // It may have been decided before there was a timer to cancel, which holds the job.
  if (!control->decided.load()) return;
  if (const std::optional<Timer::Id> timer = control->TakeGraceTimer(); timer.has_value()) {
    to_.timer.Cancel(*timer);
  }
}

// A process that was asked before has no more time than others when the server ends.
void Dispatcher::Hasten(const std::shared_ptr<LiveJob>& job, const Control& control) {
  if (!control->IsUnsignalled() || options().stop_grace <= kInterruptGrace) return;
  if (std::optional<Timer::Id> grace = control->TakeGraceTimer(); grace.has_value()) to_.timer.Cancel(*grace);
  SetGraceTimer(job, control, kInterruptGrace);
}

void Dispatcher::Restore(const std::shared_ptr<LiveJob>& job) {
  reserved_.fetch_add(1);
  Accept(job, job->EndState());
}

// A process is ended by force; what even that does not end is abandoned, as a thread is.
void Dispatcher::Escalate(const std::shared_ptr<LiveJob>& job, const Control& control) {
  const std::optional<int> signal = control->NextSignal();
  if (!signal.has_value()) return Abandon(job, control);
  const bool kills = *signal == SIGKILL;
  const StopStep::Action action = kills ? StopStep::Action::kKilled : StopStep::Action::kTerminated;
  if (!job->MarkStep(*control, action, clock_.Now())) return;  // it ends just now
  control->SignalProcess(*signal);
  SetGraceTimer(job, control, kills ? kKillGrace : kTerminateGrace);
}

// The thread is lost to the pool, and the job goes on without it.
void Dispatcher::Abandon(const std::shared_ptr<LiveJob>& job, const Control& control) {
  if (control->decided.exchange(true)) return;
  job->MarkStep(*control, StopStep::Action::kAbandoned, clock_.Now());
  const uint64_t thread_id = control->worker_thread_id;
  control->UnlessLeft([&] { executor_->Replace(thread_id); });
  to_.metrics.Abandoned(static_cast<size_t>(job->kind()));
  to_.log.Abandoned(job->id(), thread_id);
  FinishAttempt(job, *control, {absl::CancelledError("abandoned")});
}

}  // namespace jobpool
