#include "server/pipeline/job_table.h"

#include <algorithm>
#include <utility>

#include "server/base/bounded_add.h"
#include "server/base/status_macros.h"
#include "server/job/errors.h"
#include "server/job/resource_name.h"

namespace jobpool {

absl::Status JobTable::Insert(absl::Span<const std::shared_ptr<LiveJob>> jobs, const JobStore* store,
                              size_t* taken, const std::function<void()>& last) {
  int64_t bytes = 0;
  for (size_t i = 0; i < jobs.size(); ++i) {
    bytes += jobs[i]->GivenBytes();
    if (store == nullptr) continue;
    if (absl::Status reserved = Reserve(jobs[i]->id(), *store); !reserved.ok()) {
      if (taken != nullptr) *taken = i;
      Unreserve(jobs.first(i));
      return reserved;
    }
  }
  if (absl::Status added = AddBytes(bytes); !added.ok()) {
    if (store != nullptr) Unreserve(jobs);
    return added;
  }
  absl::Status inserted = InsertLocked(jobs, store != nullptr, taken, last);
  if (!inserted.ok()) bytes_.fetch_sub(bytes);
  return inserted;
}

// A job that ends is in the store before it leaves the table: an id that is free in the table, and kept free
// there, is either in the store now or was never used. Without the lock, since the store may take its time.
absl::Status JobTable::Reserve(const std::string& id, const JobStore& store) {
  Shard& shard = ShardOf(id);
  {
    MutexLock lock(shard.mu);
    if (shard.jobs.contains(absl::string_view(id)) || !shard.reserved.insert(id).second) {
      return JobExistsError(JobName(id));
    }
  }
  const absl::StatusOr<EndedJob> ended = store.Get(id);
  if (ended.ok() && *ended == nullptr) return absl::OkStatus();
  MutexLock lock(shard.mu);
  shard.reserved.erase(id);
  return ended.ok() ? JobExistsError(JobName(id)) : ended.status();
}

void JobTable::Unreserve(absl::Span<const std::shared_ptr<LiveJob>> jobs) {
  for (const auto& job : jobs) {
    Shard& shard = ShardOf(job->id());
    MutexLock lock(shard.mu);
    shard.reserved.erase(job->id());
  }
}

// Takes the locks of all the shards that it needs, in their order: who sees one of the jobs can see all of
// them. (Which locks those are is beyond the analysis.)
absl::Status JobTable::InsertLocked(absl::Span<const std::shared_ptr<LiveJob>> jobs, bool reserved,
                                    size_t* taken,
                                    const std::function<void()>& last) ABSL_NO_THREAD_SAFETY_ANALYSIS {
  ShardSet needed;
  for (const auto& job : jobs) needed.set(ShardIndex(job->id()));
  for (size_t i = 0; i < kShards; ++i) {
    if (needed[i]) shards_[i].mu.Lock();
  }
  absl::Status status;
  size_t inserted = 0;
  for (const auto& job : jobs) {
    Shard& shard = ShardOf(job->id());
    if (reserved) shard.reserved.erase(job->id());
    if (!status.ok()) continue;
    if (shard.closed) {
      status = ShuttingDownError();
    } else if (shard.reserved.contains(job->id()) || !shard.jobs.insert(job).second) {
      status = JobExistsError(JobName(job->id()));
      if (taken != nullptr) *taken = inserted;
    } else {
      shard.listed.insert(job.get());
      ++inserted;
    }
  }
  if (status.ok()) {
    size_.fetch_add(inserted);
    if (last) last();
  } else {
    for (const auto& job : jobs.first(inserted)) {
      Shard& shard = ShardOf(job->id());
      shard.listed.erase(job.get());
      shard.jobs.erase(job);
    }
  }
  for (size_t i = 0; i < kShards; ++i) {
    if (needed[i]) shards_[i].mu.Unlock();
  }
  return status;
}

absl::Status JobTable::CheckInsert(absl::Span<const std::string> ids, int64_t bytes,
                                   const JobStore& store) const {
  if (closed_.load()) return ShuttingDownError();
  absl::flat_hash_set<absl::string_view> seen;
  for (const std::string& id : ids) {
    if (id.empty()) continue;
    if (!seen.insert(id).second || Find(id) != nullptr) return JobExistsError(JobName(id));
    JOBPOOL_ASSIGN_OR_RETURN(const EndedJob ended, store.Get(id));
    if (ended != nullptr) return JobExistsError(JobName(id));
  }
  const int64_t max_bytes = max_bytes_.load();
  return bytes_.load() + bytes > max_bytes ? PayloadsFullError(max_bytes) : absl::OkStatus();
}

absl::Status JobTable::AddBytes(int64_t bytes) {
  const int64_t max_bytes = max_bytes_.load();
  return AddUpTo(bytes_, bytes, max_bytes) ? absl::OkStatus() : PayloadsFullError(max_bytes);
}

void JobTable::Erase(const LiveJob& job, const std::function<void()>& last) {
  std::shared_ptr<LiveJob> erased;  // let go of after the lock
  Shard& shard = ShardOf(job.id());
  {
    MutexLock lock(shard.mu);
    shard.listed.erase(&job);
    const auto found = shard.jobs.find(absl::string_view(job.id()));
    erased = *found;
    shard.jobs.erase(found);
    if (last) last();
  }
  bytes_.fetch_sub(job.GivenBytes());
  size_.fetch_sub(1);
  // In this order: once it is closed, the size only falls.
  if (closed_.load() && size_.load() == 0) AnnounceIfEmpty();
}

std::shared_ptr<LiveJob> JobTable::Find(absl::string_view id) const {
  const Shard& shard = ShardOf(id);
  MutexLock lock(shard.mu);
  const auto found = shard.jobs.find(id);
  return found != shard.jobs.end() ? *found : nullptr;
}

std::vector<std::shared_ptr<LiveJob>> JobTable::List(const std::optional<ListKey>& after,
                                                     size_t limit) const {
  std::vector<std::shared_ptr<LiveJob>> found;
  for (const Shard& shard : shards_) {
    MutexLock lock(shard.mu);
    auto at = after.has_value() ? shard.listed.upper_bound(*after) : shard.listed.begin();
    for (size_t n = 0; at != shard.listed.end() && n < limit; ++at, ++n) {
      found.push_back(*shard.jobs.find(absl::string_view((*at)->id())));
    }
  }
  const size_t size = std::min(limit, found.size());
  std::partial_sort(found.begin(), found.begin() + static_cast<std::ptrdiff_t>(size), found.end(),
                    [](const auto& a, const auto& b) { return ListOrder()(a.get(), b.get()); });
  found.resize(size);
  return found;
}

std::vector<std::shared_ptr<LiveJob>> JobTable::All() const {
  std::vector<std::shared_ptr<LiveJob>> all;
  for (const Shard& shard : shards_) {
    MutexLock lock(shard.mu);
    all.insert(all.end(), shard.jobs.begin(), shard.jobs.end());
  }
  return all;
}

void JobTable::Close(std::function<void()> on_empty) {
  {
    MutexLock lock(mu_);
    on_empty_ = std::move(on_empty);
  }
  for (Shard& shard : shards_) {
    MutexLock lock(shard.mu);
    shard.closed = true;
  }
  closed_.store(true);
  if (size_.load() == 0) AnnounceIfEmpty();
}

// Close and the last Erase may both see the empty table: the first one here
// takes the function.
void JobTable::AnnounceIfEmpty() {
  std::function<void()> on_empty;
  {
    MutexLock lock(mu_);
    on_empty.swap(on_empty_);
  }
  if (on_empty) on_empty();
}

}  // namespace jobpool
