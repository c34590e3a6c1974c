#include "server/store/memory_store.h"

#include <algorithm>
#include <utility>

namespace jobpool {
namespace {

// Whoever ends a job waits for that long at most.
constexpr size_t kLookedAtUnderLock = 2'500;

}  // namespace

absl::Status MemoryStore::Put(EndedJob job) {
  const size_t bytes = job->Bytes();
  std::vector<EndedJob> dropped;  // let go of after the lock
  MutexLock lock(mu_);
  bytes_ += bytes;
  index_.Insert(job.get());
  expiring_.insert(job.get());
  jobs_.insert(std::move(job));
  dropped = RemoveBeyond();
  return absl::OkStatus();
}

void MemoryStore::SetLimits(size_t max_jobs, size_t max_bytes) {
  std::vector<EndedJob> dropped;  // let go of after the lock
  MutexLock lock(mu_);
  max_jobs_ = max_jobs;
  max_bytes_ = max_bytes;
  dropped = RemoveBeyond();
}

std::vector<EndedJob> MemoryStore::RemoveBeyond() {
  std::vector<EndedJob> dropped;
  while (jobs_.size() > max_jobs_ || bytes_ > max_bytes_) dropped.push_back(Remove(*expiring_.begin()));
  return dropped;
}

absl::StatusOr<EndedJob> MemoryStore::Get(const std::string& id) const {
  MutexLock lock(mu_);
  const auto found = jobs_.find(absl::string_view(id));
  return found != jobs_.end() ? *found : nullptr;
}

absl::StatusOr<StoredPage> MemoryStore::List(const JobQuery& query) const {
  StoredPage page;
  JobQuery next = query;
  for (size_t looked_at = 0;;) {
    next.limit = query.limit - page.jobs.size();
    next.max_looked_at = std::min(query.max_looked_at - looked_at, kLookedAtUnderLock);
    MutexLock lock(mu_);
    JobIndex::Found found = index_.List(next);
    for (const JobRecord* job : found.jobs) page.jobs.push_back(*jobs_.find(absl::string_view(job->id)));
    looked_at += found.looked_at;
    next.after = found.looked_up_to;
    if (next.after.has_value() && page.jobs.size() < query.limit && looked_at < query.max_looked_at) continue;
    page.looked_up_to = std::move(found.looked_up_to);
    return page;
  }
}

absl::StatusOr<bool> MemoryStore::Delete(const std::string& id) {
  EndedJob dropped;
  MutexLock lock(mu_);
  const auto found = jobs_.find(absl::string_view(id));
  if (found == jobs_.end()) return false;
  dropped = Remove(found->get());
  return true;
}

absl::StatusOr<size_t> MemoryStore::DeleteExpired(absl::Time now, size_t limit) {
  std::vector<EndedJob> dropped;
  MutexLock lock(mu_);
  while (dropped.size() < limit && !expiring_.empty() && (*expiring_.begin())->ExpireTime() <= now) {
    dropped.push_back(Remove(*expiring_.begin()));
  }
  return dropped.size();
}

EndedJob MemoryStore::Remove(const JobRecord* job) {
  index_.Erase(job);
  expiring_.erase(job);
  const auto found = jobs_.find(absl::string_view(job->id));
  EndedJob removed = *found;
  bytes_ -= removed->Bytes();
  jobs_.erase(found);
  return removed;
}

}  // namespace jobpool
