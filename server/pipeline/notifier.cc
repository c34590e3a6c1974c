#include "server/pipeline/notifier.h"

#include <algorithm>
#include <utility>

#include "server/base/bounded_add.h"
#include "server/base/status_macros.h"
#include "server/job/errors.h"

namespace jobpool {

namespace {

std::vector<LiveJob*> DistinctLive(const std::vector<JobHandle>& jobs) {
  std::vector<LiveJob*> live;
  for (const JobHandle& job : jobs) {
    if (job.live != nullptr) live.push_back(job.live.get());
  }
  std::sort(live.begin(), live.end());
  live.erase(std::unique(live.begin(), live.end()), live.end());
  return live;
}

}  // namespace

Join::Join(Timer& timer, std::vector<JobHandle> jobs, Mode mode, Done done)
    : timer_(timer),
      jobs_(std::move(jobs)),
      live_(DistinctLive(jobs_)),
      has_ended_(
          std::any_of(jobs_.begin(), jobs_.end(), [](const JobHandle& job) { return job.live == nullptr; })),
      mode_(mode),
      done_(std::move(done)) {}

std::shared_ptr<Join> Join::Start(Timer& timer, std::vector<JobHandle> jobs, Mode mode,
                                  std::optional<MonotonicTime> deadline, Done done) {
  std::shared_ptr<Join> join(new Join(timer, std::move(jobs), mode, std::move(done)));
  join->Register(deadline);
  return join;
}

// `missing_` begins with one that only the end of Register takes away, so that
// jobs that end meanwhile cannot satisfy a wait that is not set up.
void Join::Register(std::optional<MonotonicTime> deadline) {
  int64_t ended = 0;
  missing_.store(static_cast<int64_t>(live_.size()) + 1);
  can_end_.store(static_cast<int64_t>(live_.size()));
  for (LiveJob* job : live_) {
    switch (job->AddWaiter(shared_from_this())) {
      case LiveJob::Await::kAdded:
        break;
      case LiveJob::Await::kEnded:
        ++ended;
        break;
      case LiveJob::Await::kLeft:
        OnJobLeft();
        break;
    }
  }
  if (mode_ == Mode::kAny) {
    // From here on one end is enough; those that came while registering count.
    const bool one = ended > 0 || has_ended_;
    ended = static_cast<int64_t>(live_.size()) - 1 + (one ? 1 : 0);
  }
  if (missing_.fetch_sub(ended + 1) - (ended + 1) <= 0) {
    Finish(Result::kEnded, /*call_done=*/true);
    return;
  }
  if (!deadline.has_value()) return;
  if (*deadline <= timer_.Now()) {  // a mere look
    Finish(Result::kTimedOut, /*call_done=*/true);
    return;
  }
  const Timer::Id id =
      timer_.At(*deadline, [self = shared_from_this()] { self->Finish(Result::kTimedOut, true); });
  {
    MutexLock lock(mu_);
    timeout_ = id;
  }
  if (finished_.load()) timer_.Cancel(id);
}

void Join::Abandon() { Finish(Result::kEnded, /*call_done=*/false); }

void Join::OnJobEnd(const EndedJob&) {
  if (missing_.fetch_sub(1) - 1 == 0) Finish(Result::kEnded, /*call_done=*/true);
}

void Join::OnJobLeft() {
  const int64_t can_end = can_end_.fetch_sub(1) - 1;
  if (mode_ == Mode::kAll || (can_end == 0 && !has_ended_)) Finish(Result::kLeft, /*call_done=*/true);
}

void Join::Finish(Result result, bool call_done) {
  if (finished_.exchange(true)) return;
  const std::shared_ptr<Join> self = shared_from_this();
  {
    MutexLock lock(mu_);
    if (timeout_.has_value()) timer_.Cancel(*timeout_);
  }
  for (LiveJob* job : live_) job->RemoveWaiter(this);
  if (call_done) done_(result);
}

absl::StatusOr<std::shared_ptr<Join>> Notifier::Wait(const std::vector<std::string>& ids, Join::Mode mode,
                                                     std::optional<MonotonicTime> deadline, Join::Done done) {
  std::vector<JobHandle> jobs;
  jobs.reserve(ids.size());
  for (const std::string& id : ids) {
    JOBPOOL_ASSIGN_OR_RETURN(JobHandle job, reader_.Find(id));
    jobs.push_back(std::move(job));
  }
  const auto added = static_cast<int64_t>(ids.size());
  const int64_t max_waits = max_waits_.load();
  if (!AddUpTo(*waits_, added, max_waits)) return TooManyCallsError("jobs waited for", max_waits);
  // Counted out when the last reference to the join, and so this, goes.
  const std::shared_ptr<void> counted(nullptr, [waits = waits_, added](void*) { waits->fetch_sub(added); });
  return Join::Start(timer_, std::move(jobs), mode, deadline,
                     [counted, done = std::move(done)](Join::Result result) { done(result); });
}

}  // namespace jobpool
