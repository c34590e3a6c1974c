#pragma once

#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "server/store/job_store.h"

namespace jobpool {

/// A real store with a look-in: a hook is called, on the caller's thread and
/// without locks, where a slow or a broken store would take its time, and its
/// error is the store's. Hooks are set before others use the store.
class HookedStore final : public JobStore {
 public:
  using Hook = std::function<absl::Status(const std::string& id)>;

  explicit HookedStore(JobStore& store) : store_(store) {}

  Hook before_put;
  Hook after_put;
  Hook before_get;

  absl::Status Commit(absl::Span<const JobWrite> writes) override {
    for (const JobWrite& write : writes) {
      if (const absl::Status status = Call(before_put, write.job->id); !status.ok()) return status;
    }
    if (const absl::Status status = store_.Commit(writes); !status.ok()) return status;
    for (const JobWrite& write : writes) {
      if (const absl::Status status = Call(after_put, write.job->id); !status.ok()) return status;
    }
    return absl::OkStatus();
  }
  absl::Status CheckWritable() override { return Call(before_put, ""); }
  absl::StatusOr<EndedJob> Get(const std::string& id) const override {
    if (const absl::Status status = Call(before_get, id); !status.ok()) return status;
    return store_.Get(id);
  }
  absl::StatusOr<StoredPage> List(const JobQuery& query) const override { return store_.List(query); }
  absl::StatusOr<bool> Delete(const std::string& id) override { return store_.Delete(id); }
  absl::StatusOr<size_t> DeleteExpired(absl::Time now, size_t limit) override {
    return store_.DeleteExpired(now, limit);
  }
  size_t CountLive() const override { return store_.CountLive(); }
  absl::StatusOr<std::vector<JobRecord>> ListLive(uint64_t after, size_t limit) const override {
    return store_.ListLive(after, limit);
  }
  absl::StatusOr<std::vector<MadeRequest>> ListRequests(const std::optional<RequestId>& after,
                                                        size_t limit) const override {
    return store_.ListRequests(after, limit);
  }
  absl::StatusOr<uint64_t> LastNumber() const override { return store_.LastNumber(); }

 private:
  static absl::Status Call(const Hook& hook, const std::string& id) {
    return hook ? hook(id) : absl::OkStatus();
  }

  JobStore& store_;
};

}  // namespace jobpool
