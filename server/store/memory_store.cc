#include "server/store/memory_store.h"

#include <algorithm>
#include <utility>

namespace jobpool {
namespace {

// Whoever ends a job waits for that long at most.
constexpr size_t kLookedAtUnderLock = 2'500;

}  // namespace

absl::Status MemoryStore::Commit(absl::Span<const JobWrite> writes) {
  std::vector<EndedJob> dropped;  // let go of after the lock
  MutexLock lock(mu_);
  for (const JobWrite& write : writes) {
    last_number_ = std::max(last_number_, write.job->number);
    if (write.request.has_value()) {
      requests_[write.request->id] = {*write.request, write.job->id,
                                      write.job->create_time + kRequestIdLifetime};
    }
    if (!IsEnded(write.job->state)) {
      live_[write.job->number] = write.job;
      continue;
    }
    if (!live_.empty()) live_.erase(write.job->number);
    PutEnded(write.job);
  }
  dropped = RemoveBeyond();
  return absl::OkStatus();
}

void MemoryStore::PutEnded(EndedJob job) {
  bytes_ += job->Bytes();
  index_.Insert(job.get());
  expiring_.insert(Expiring(job.get()));
  jobs_.insert(std::move(job));
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
  while (jobs_.size() > max_jobs_ || bytes_ > max_bytes_) dropped.push_back(Remove(expiring_.begin()->job));
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
  while (dropped.size() < limit && !expiring_.empty() && expiring_.begin()->time <= now) {
    dropped.push_back(Remove(expiring_.begin()->job));
  }
  size_t requests = 0;
  for (auto it = requests_.begin(); it != requests_.end() && requests < limit;) {
    if (it->second.expire_time > now) {
      ++it;
    } else {
      it = requests_.erase(it);
      ++requests;
    }
  }
  return dropped.size();
}

size_t MemoryStore::CountLive() const {
  MutexLock lock(mu_);
  return live_.size();
}

absl::StatusOr<std::vector<JobRecord>> MemoryStore::ListLive(uint64_t after, size_t limit) const {
  std::vector<JobRecord> jobs;
  MutexLock lock(mu_);
  for (auto it = live_.upper_bound(after); it != live_.end() && jobs.size() < limit; ++it) {
    jobs.push_back(*it->second);
  }
  return jobs;
}

absl::StatusOr<std::vector<MadeRequest>> MemoryStore::ListRequests(const std::optional<RequestId>& after,
                                                                   size_t limit) const {
  std::vector<MadeRequest> requests;
  MutexLock lock(mu_);
  for (auto it = after.has_value() ? requests_.upper_bound(*after) : requests_.begin();
       it != requests_.end() && requests.size() < limit; ++it) {
    requests.push_back(it->second);
  }
  return requests;
}

absl::StatusOr<uint64_t> MemoryStore::LastNumber() const {
  MutexLock lock(mu_);
  return last_number_;
}

EndedJob MemoryStore::Remove(const JobRecord* job) {
  index_.Erase(job);
  expiring_.erase(Expiring(job));
  const auto found = jobs_.find(absl::string_view(job->id));
  EndedJob removed = *found;
  bytes_ -= removed->Bytes();
  jobs_.erase(found);
  return removed;
}

}  // namespace jobpool
