#include "server/pipeline/job_watch.h"

#include <algorithm>
#include <utility>

#include "server/job/errors.h"
#include "server/pipeline/job_watches.h"

namespace jobpool {

JobWatch::JobWatch(JobWatches& watches, WatchSpec spec, std::function<void()> wake)
    : watches_(watches), spec_(std::move(spec)), wake_(std::move(wake)) {}

void JobWatch::Close() { watches_.Close(*this); }

bool JobWatch::Offer(uint64_t sequence) {
  MutexLock lock(mu_);
  if (!error_.ok()) return false;
  if (offered_.size() >= kMaxWaiting) {
    error_ = WatchTooSlowError(kMaxWaiting);
    std::deque<uint64_t>().swap(offered_);
  } else {
    offered_.push_back(sequence);
  }
  return std::exchange(awaits_, false);
}

bool JobWatch::Cut(absl::Status error) {
  MutexLock lock(mu_);
  if (error_.ok()) error_ = std::move(error);
  return std::exchange(awaits_, false);
}

bool JobWatch::ShutDown() {
  MutexLock lock(mu_);
  shutting_down_ = true;
  return std::exchange(awaits_, false);
}

bool JobWatch::Wants(const JobEvent& event) const {
  if (event.type == JobEventType::kOutput && !spec_.output) return false;
  if (!spec_.ids.empty()) return std::binary_search(spec_.ids.begin(), spec_.ids.end(), event.job->id);
  return spec_.filter.Matches(*event.job) || (event.before != nullptr && spec_.filter.Matches(*event.before));
}

WatchItem JobWatch::Take() {
  if (SharedJobEvent event = NextInitial(); event != nullptr) {
    return Item(WatchItem::Kind::kEvent, std::move(event));
  }
  if (!settled_) {
    // What has happened while the first states were told is given out now, so that it is seen here before
    // anything is said of the position.
    settled_ = true;
    settled_at_ = watches_.events_.last();
    watches_.Distribute(settled_at_);
  }
  for (;;) {
    WatchItem end;
    SharedJobEvent event = NextEvent(&end);
    if (event == nullptr) return end;
    if (WasTold(*event)) continue;
    if (event->type == JobEventType::kEnded) alive_.erase(event->job->number);
    return Item(WatchItem::Kind::kEvent, std::move(event));
  }
}

SharedJobEvent JobWatch::NextInitial() {
  while (initial_told_ < initial_.size()) {
    // Gone since the watch began, or, of a filter, unlike it: the watch hears of that.
    const absl::StatusOr<JobHandle> found = watches_.reader_.Find(initial_[initial_told_++]);
    if (!found.ok()) continue;
    // What it says of its progress must not come again.
    JobSnapshot job =
        found->live != nullptr ? found->live->TellProgress(watches_.events_) : found->Snapshot();
    const bool ended = IsEnded(job.record.state);
    if (spec_.ids.empty() && (ended || !spec_.filter.Matches(job.record))) continue;
    told_[job.record.number] = {job.record.revision, job.progress.has_value() ? job.progress->version : 0};
    if (!ended && !spec_.ids.empty()) alive_.insert(job.record.number);
    auto event = std::make_shared<JobEvent>();
    event->job = std::make_shared<const JobRecord>(std::move(job.record));
    event->progress = std::move(job.progress);
    return event;
  }
  return nullptr;
}

SharedJobEvent JobWatch::NextEvent(WatchItem* end) {
  while (position_ < replay_until_) {
    SharedJobEvent event = watches_.events_.Find(position_ + 1);
    if (event == nullptr) break;  // forgotten meanwhile, as is found below
    ++position_;
    if (Wants(*event)) return event;
  }
  // Read before what is offered is: all up to there was offered then.
  const uint64_t distributed = watches_.distributed_.load();
  const bool lost = position_ < replay_until_;
  MutexLock lock(mu_);
  while (error_.ok() && !lost && !offered_.empty()) {
    const uint64_t sequence = offered_.front();
    if (sequence <= position_) {  // from before the watch
      offered_.pop_front();
      continue;
    }
    SharedJobEvent event = watches_.events_.Find(sequence);
    if (event == nullptr) break;
    offered_.pop_front();
    position_ = sequence;
    return event;
  }
  if (error_.ok() && (lost || !offered_.empty())) error_ = WatchTooSlowError(watches_.events_.max_events());
  if (!error_.ok()) {
    end->kind = WatchItem::Kind::kCut;
    end->error = error_;
    return nullptr;
  }
  position_ = std::max(position_, distributed);
  if (!spec_.ids.empty() && alive_.empty()) {
    *end = Item(WatchItem::Kind::kAllEnded);
  } else if (shutting_down_) {
    *end = Item(WatchItem::Kind::kShuttingDown);
  } else {
    awaits_ = true;
    *end = Item(WatchItem::Kind::kNothingYet);
  }
  return nullptr;
}

bool JobWatch::WasTold(const JobEvent& event) const {
  const bool of_state = event.type != JobEventType::kDeleted && event.type != JobEventType::kOutput;
  if (event.sequence > settled_at_ || !of_state) return false;
  const auto told = told_.find(event.job->number);
  if (told == told_.end()) return false;
  if (event.job->revision != told->second.revision) return event.job->revision < told->second.revision;
  return event.type != JobEventType::kProgress || event.progress->version <= told->second.progress;
}

WatchItem JobWatch::Item(WatchItem::Kind kind, SharedJobEvent event) const {
  WatchItem item;
  item.kind = kind;
  item.event = std::move(event);
  if (settled_ && position_ >= settled_at_) item.position = position_;
  return item;
}

}  // namespace jobpool
