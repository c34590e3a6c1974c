#include "server/pipeline/job_table.h"

#include <algorithm>
#include <utility>

#include "server/base/status_macros.h"
#include "server/job/errors.h"
#include "server/job/resource_name.h"

namespace jobpool {

absl::Status JobTable::Insert(std::shared_ptr<LiveJob> job, const JobStore* store) {
  const LiveJob* const added = job.get();
  Shard& shard = ShardOf(added->id());
  if (store != nullptr) JOBPOOL_RETURN_IF_ERROR(Reserve(shard, added->id(), *store));
  const size_t bytes = HeapBytes(added->work());
  MutexLock lock(shard.mu);
  if (store != nullptr) shard.reserved.erase(added->id());
  if (shard.closed) return ShuttingDownError();
  if (shard.jobs.contains(absl::string_view(added->id())) || shard.reserved.contains(added->id())) {
    return JobExistsError(JobName(added->id()));
  }
  if (bytes_.fetch_add(bytes) + bytes > max_bytes_) {
    bytes_.fetch_sub(bytes);
    return PayloadsFullError(static_cast<int64_t>(max_bytes_));
  }
  shard.jobs.insert(std::move(job));
  shard.listed.insert(added);
  size_.fetch_add(1);
  return absl::OkStatus();
}

// A job that ends is in the store before it leaves the table: an id that is free in the table, and kept free
// there, is either in the store now or was never used. Without the lock, since the store may take its time.
absl::Status JobTable::Reserve(Shard& shard, const std::string& id, const JobStore& store) {
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
  bytes_.fetch_sub(HeapBytes(job.work()));
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
