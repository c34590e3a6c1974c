#include "server/store/layered_store.h"

#include <utility>

#include "server/base/status_macros.h"
#include "server/job/errors.h"

namespace jobpool {
namespace {

template <typename T>
absl::StatusOr<T> WithReason(absl::StatusOr<T> result) {
  if (result.ok()) return result;
  return StoreError(result.status());
}

}  // namespace

absl::Status LayeredStore::Commit(absl::Span<const JobWrite> writes) {
  if (writes.empty()) return absl::OkStatus();
  return writes.front().job->durability == Durability::kDisk ? disk_->Commit(writes) : memory_.Commit(writes);
}

absl::StatusOr<EndedJob> LayeredStore::Get(const std::string& id) const {
  JOBPOOL_ASSIGN_OR_RETURN(EndedJob job, memory_.Get(id));
  if (job != nullptr || disk_ == nullptr) return job;
  return WithReason(disk_->Get(id));
}

absl::StatusOr<StoredPage> LayeredStore::List(const JobQuery& query) const {
  JOBPOOL_ASSIGN_OR_RETURN(StoredPage memory, memory_.List(query));
  if (disk_ == nullptr) return memory;
  JOBPOOL_ASSIGN_OR_RETURN(StoredPage disk, WithReason(disk_->List(query)));
  // What is behind the place that either has looked up to must wait.
  const JobOrder& order = query.order;
  std::optional<JobPosition> end = memory.looked_up_to;
  if (!end.has_value() || (disk.looked_up_to.has_value() && order.Before(*disk.looked_up_to, *end))) {
    end = disk.looked_up_to;
  }
  StoredPage page;
  auto m = memory.jobs.begin();
  auto d = disk.jobs.begin();
  while (m != memory.jobs.end() || d != disk.jobs.end()) {
    const bool of_memory =
        d == disk.jobs.end() ||
        (m != memory.jobs.end() && order.Before(order.PositionOf(**m), order.PositionOf(**d)));
    EndedJob& next = of_memory ? *m++ : *d++;
    JobPosition position = order.PositionOf(*next);
    if (end.has_value() && order.Before(*end, position)) break;
    if (page.jobs.size() == query.limit) {
      end = order.PositionOf(*page.jobs.back());
      break;
    }
    page.jobs.push_back(std::move(next));
  }
  page.looked_up_to = std::move(end);
  return page;
}

absl::StatusOr<bool> LayeredStore::Delete(const std::string& id) {
  JOBPOOL_ASSIGN_OR_RETURN(const bool deleted, memory_.Delete(id));
  if (deleted || disk_ == nullptr) return deleted;
  return WithReason(disk_->Delete(id));
}

absl::StatusOr<size_t> LayeredStore::DeleteExpired(absl::Time now, size_t limit) {
  return memory_.DeleteExpired(now, limit);
}

absl::StatusOr<std::vector<JobRecord>> LayeredStore::ListLive(uint64_t after, size_t limit) const {
  return ToStart().ListLive(after, limit);
}

absl::StatusOr<std::vector<MadeRequest>> LayeredStore::ListRequests(const std::optional<RequestId>& after,
                                                                    size_t limit) const {
  return ToStart().ListRequests(after, limit);
}

absl::StatusOr<uint64_t> LayeredStore::LastNumber() const { return ToStart().LastNumber(); }

}  // namespace jobpool
