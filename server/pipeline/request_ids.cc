#include "server/pipeline/request_ids.h"

#include "server/job/bounds.h"
#include "server/job/errors.h"
#include "server/job/resource_name.h"

namespace jobpool {
namespace {

// A thousandth of a second, about.
constexpr int kBatch = 10'000;

}  // namespace

absl::StatusOr<std::string> RequestIds::Find(const RequestKey& request) const {
  const auto found = entries_.find(request.id);
  if (found == entries_.end()) return std::string();
  if (!(found->second.payload == request.payload)) return RequestIdReusedError(JobName(found->second.job_id));
  return found->second.job_id;
}

absl::Status RequestIds::CheckRoom(size_t count) {
  ForgetExpiredLocked();
  // Where the bound was lowered more may be there than it allows: that is no fault of who adds none.
  if (count == 0 || entries_.size() + count <= max_ids_) return absl::OkStatus();
  absl::Duration delay = kRequestIdLifetime;
  if (count <= max_ids_) {
    const size_t last = entries_.size() + count - max_ids_ - 1;  // that has to go first
    delay = absl::FromChrono(expiry_[last].first - clock_.Monotonic());
  }
  return RequestIdsFullError(static_cast<int64_t>(max_ids_), delay);
}

void RequestIds::Remember(const RequestKey& request, std::string job_id) {
  Add(request, std::move(job_id), Later(clock_.Monotonic(), kRequestIdLifetime));
}

void RequestIds::Restore(const RequestKey& request, std::string job_id, absl::Time expire_time) {
  Add(request, std::move(job_id), Later(clock_.Monotonic(), expire_time - clock_.Now()));
}

void RequestIds::Add(const RequestKey& request, std::string job_id, MonotonicTime expire_time) {
  entries_.emplace(request.id, Entry{request.payload, std::move(job_id), expire_time});
  expiry_.emplace_back(expire_time, request.id);
}

void RequestIds::Forget(const RequestId& id) {
  entries_.erase(id);
  if (expiry_.size() <= 2 * entries_.size() + kBatch) return;
  std::deque<std::pair<MonotonicTime, RequestId>> kept;
  for (const auto& [expire_time, remembered] : expiry_) {
    const auto found = entries_.find(remembered);
    if (found != entries_.end() && found->second.expire_time == expire_time)
      kept.emplace_back(expire_time, remembered);
  }
  expiry_.swap(kept);
}

void RequestIds::ForgetExpired() {
  MutexLock lock(mu_);
  ForgetExpiredLocked();
}

void RequestIds::ForgetExpiredLocked() {
  const MonotonicTime now = clock_.Monotonic();
  for (int n = 0; n < kBatch && !expiry_.empty() && expiry_.front().first <= now; ++n) {
    const auto found = entries_.find(expiry_.front().second);
    if (found != entries_.end() && found->second.expire_time == expiry_.front().first) entries_.erase(found);
    expiry_.pop_front();
  }
}

}  // namespace jobpool
