#include "server/store/memory_store.h"

#include <utility>

namespace jobpool {

absl::Status MemoryStore::Put(EndedJob job) {
  const size_t bytes = job->Bytes();
  std::vector<EndedJob> dropped;  // let go of after the lock
  MutexLock lock(mu_);
  bytes_ += bytes;
  listed_.insert(job.get());
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

absl::StatusOr<std::vector<EndedJob>> MemoryStore::List(const std::optional<ListKey>& after,
                                                        size_t limit) const {
  std::vector<EndedJob> page;
  MutexLock lock(mu_);
  auto at = after.has_value() ? listed_.upper_bound(*after) : listed_.begin();
  for (; at != listed_.end() && page.size() < limit; ++at) {
    page.push_back(*jobs_.find(absl::string_view((*at)->id)));
  }
  return page;
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
  listed_.erase(job);
  expiring_.erase(job);
  const auto found = jobs_.find(absl::string_view(job->id));
  EndedJob removed = *found;
  bytes_ -= removed->Bytes();
  jobs_.erase(found);
  return removed;
}

}  // namespace jobpool
