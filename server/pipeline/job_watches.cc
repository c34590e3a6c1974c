#include "server/pipeline/job_watches.h"

#include <algorithm>
#include <system_error>
#include <utility>

#include "server/base/status_macros.h"
#include "server/job/bounds.h"
#include "server/job/errors.h"
#include "server/query/job_query.h"

namespace jobpool {
namespace {

// Events that are given out under one lock.
constexpr size_t kBatch = 256;

}  // namespace

JobWatches::~JobWatches() { Stop(); }

absl::StatusOr<std::shared_ptr<JobWatch>> JobWatches::Watch(WatchSpec spec, std::function<void()> wake) {
  std::sort(spec.ids.begin(), spec.ids.end());  // as JobWatch looks in them
  const std::shared_ptr<JobWatch> watch(new JobWatch(*this, std::move(spec), std::move(wake)));
  JOBPOOL_RETURN_IF_ERROR(Add(watch));
  if (absl::Status prepared = Prepare(*watch); !prepared.ok()) {
    Close(*watch);
    return prepared;
  }
  return watch;
}

absl::Status JobWatches::Add(const std::shared_ptr<JobWatch>& watch) {
  const WatchSpec& spec = watch->spec_;
  MutexLock lock(mu_);
  if (shut_down_) return ShuttingDownError();
  const int64_t max_watches = max_watches_.load();
  if (static_cast<int64_t>(watches_.size()) >= max_watches) {
    return TooManyCallsError("calls of WatchJobs are open", max_watches);
  }
  JOBPOOL_RETURN_IF_ERROR(StartThread());
  events_.Watch(watch->spec_.output);
  if (spec.after.has_value() && !events_.IsKnownAfter(*spec.after)) {
    events_.Unwatch(watch->spec_.output);
    return ResumeTokenExpiredError();
  }
  const uint64_t last = events_.last();
  if (watches_.empty()) distributed_.store(last);  // what came before was nobody's
  if (spec.after.has_value()) {
    watch->position_ = *spec.after;
    watch->replay_until_ = distributed_.load();
  } else {
    watch->position_ = last;
  }
  watches_.insert(watch);
  if (spec.ids.empty()) by_filter_.insert(watch.get());
  for (const std::string& id : spec.ids) by_id_[id].push_back(watch.get());
  return absl::OkStatus();
}

// It is among the watches by now: what happens from here on it is offered, so that what is seen here and
// what it is offered leave nothing out.
absl::Status JobWatches::Prepare(JobWatch& watch) {
  const WatchSpec& spec = watch.spec_;
  if (spec.after.has_value()) {
    // A job that has ended, and may be gone, has told so in the log or before it.
    for (const std::string& id : spec.ids) {
      const absl::StatusOr<JobHandle> job = reader_.Find(id);
      if (!job.ok() && !absl::IsNotFound(job.status())) return job.status();
      if (!job.ok() || job->live == nullptr) continue;
      const JobRecord record = job->live->Snapshot().record;
      if (!IsEnded(record.state)) watch.alive_.insert(record.number);
    }
    watch.settled_ = true;
    Distribute(events_.last());
  } else if (spec.changes_only) {
    watch.settled_ = true;
  } else if (spec.ids.empty()) {
    JobQuery query{.filter = spec.filter, .limit = kMaxPageSize};
    do {
      const LivePage page = reader_.ListLive(query);
      for (const LivePage::Job& job : page.jobs) watch.initial_.push_back(job.position.id);
      if (watch.initial_.size() > kMaxWatchedJobs) {
        return TooManyCallsError("jobs match the filter", kMaxWatchedJobs);
      }
      query.after = page.looked_up_to;
    } while (query.after.has_value());
  } else {
    for (const std::string& id : spec.ids) JOBPOOL_RETURN_IF_ERROR(reader_.Find(id).status());
    watch.initial_ = spec.ids;
  }
  return absl::OkStatus();
}

void JobWatches::Close(JobWatch& watch) {
  std::shared_ptr<JobWatch> closed;  // let go of after the lock
  MutexLock lock(mu_);
  const auto found = watches_.find(&watch);
  if (found == watches_.end()) return;
  closed = *found;
  watches_.erase(found);
  by_filter_.erase(&watch);
  for (const std::string& id : watch.spec_.ids) {
    const auto watched = by_id_.find(id);
    watched->second.erase(std::find(watched->second.begin(), watched->second.end(), &watch));
    if (watched->second.empty()) by_id_.erase(watched);
  }
  events_.Unwatch(watch.spec_.output);
}

void JobWatches::Distribute(uint64_t until) {
  ToWake to_wake;
  {
    MutexLock lock(mu_);
    while (distributed_.load() < until) DistributeBatch(to_wake);
  }
  for (const auto& watch : to_wake) watch->wake_();
}

void JobWatches::DistributeBatch(ToWake& to_wake) {
  const uint64_t distributed = distributed_.load();
  if (watches_.empty()) {
    distributed_.store(events_.last());
    return;
  }
  const auto woken = [&](JobWatch* watch, bool wake) {
    if (wake) to_wake.push_back(watch->shared_from_this());
  };
  const std::vector<SharedJobEvent> events = events_.After(distributed, kBatch);
  if (events.empty()) return;
  if (events.front()->sequence > distributed + 1) {  // they came faster than they were given out
    for (const auto& watch : watches_) {
      woken(watch.get(), watch->Cut(WatchTooSlowError(events_.max_events())));
    }
  }
  for (const SharedJobEvent& event : events) {
    if (const auto watched = by_id_.find(event->job->id); watched != by_id_.end()) {
      for (JobWatch* const watch : watched->second) {
        if (event->type != JobEventType::kOutput || watch->spec_.output) {
          woken(watch, watch->Offer(event->sequence));
        }
      }
    }
    for (JobWatch* const watch : by_filter_) {
      if (watch->Wants(*event)) woken(watch, watch->Offer(event->sequence));
    }
  }
  distributed_.store(events.back()->sequence);
}

absl::Status JobWatches::StartThread() {
  if (thread_.joinable() || stopped_) return absl::OkStatus();
  try {
    thread_ = std::thread([this] { Run(); });
  } catch (const std::system_error&) {  // no more threads to be had
    return TooManyCallsError("threads run", static_cast<int64_t>(registry_.Count().total()));
  }
  return absl::OkStatus();
}

void JobWatches::Run() {
  RegisteredThread thread(registry_, ThreadRole::kService, "");
  while (events_.AwaitAfter(distributed_.load())) {
    thread.SetRunning(true);
    ToWake to_wake;
    {
      MutexLock lock(mu_);
      DistributeBatch(to_wake);
    }
    for (const auto& watch : to_wake) watch->wake_();
    thread.SetRunning(false);
  }
}

void JobWatches::Shutdown() {
  ToWake to_wake;
  {
    MutexLock lock(mu_);
    shut_down_ = true;
    while (distributed_.load() < events_.last()) DistributeBatch(to_wake);
    for (const auto& watch : watches_) {
      if (watch->ShutDown()) to_wake.push_back(watch);
    }
  }
  for (const auto& watch : to_wake) watch->wake_();
}

void JobWatches::Stop() {
  std::thread thread;
  {
    MutexLock lock(mu_);
    stopped_ = true;
    thread.swap(thread_);
  }
  events_.Stop();
  if (thread.joinable()) thread.join();
}

}  // namespace jobpool
