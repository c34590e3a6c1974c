#include "server/pipeline/recovery.h"

#include <algorithm>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/base/cancel_token.h"
#include "server/base/status_macros.h"
#include "server/job/errors.h"

namespace jobpool {
namespace {

constexpr size_t kPage = 2'000;

// Jobs of pools that are gone would wait for ever: whoever has changed the config has to say what he means.
absl::Status PoolsMissingError(const std::map<std::string, size_t>& missing) {
  const std::string pools = absl::StrJoin(missing, ", ", [](std::string* out, const auto& pool) {
    absl::StrAppend(out, pool.first, " (", pool.second, pool.second == 1 ? " job)" : " jobs)");
  });
  return absl::FailedPreconditionError(
      absl::StrCat("the store holds live jobs of pools that the config does not have: ", pools));
}

}  // namespace

absl::StatusOr<Recovered> ReadRecovered(
    const JobStore& store, const PoolSet& pools, absl::Time now,
    absl::FunctionRef<void(absl::Span<const std::shared_ptr<LiveJob>>)> restore) {
  Recovered found;
  JOBPOOL_ASSIGN_OR_RETURN(found.last_number, store.LastNumber());
  JobQuery newest;
  newest.limit = 1;
  JOBPOOL_ASSIGN_OR_RETURN(const StoredPage ended, store.List(newest));
  if (!ended.jobs.empty()) found.last_create_time = ended.jobs.front()->create_time;
  std::map<std::string, size_t> missing;
  std::vector<std::shared_ptr<LiveJob>> jobs;
  for (uint64_t after = 0;;) {
    JOBPOOL_ASSIGN_OR_RETURN(std::vector<JobRecord> records, store.ListLive(after, kPage));
    if (records.empty()) break;
    after = records.back().number;
    jobs.clear();
    for (JobRecord& record : records) {
      const Dispatcher* const pool = pools.Find(*record.pool);
      if (pool == nullptr) {
        ++missing[*record.pool];
        continue;
      }
      record.pool = pool->name();
      found.last_create_time = std::max(found.last_create_time, record.create_time);
      const bool ran = record.state == JobState::kRunning;
      bool cancelled = false;
      if (ran) {
        const std::vector<StopStep>& steps = record.attempts.back().stop_steps;
        cancelled =
            std::any_of(steps.begin(), steps.end(), [](const StopStep& step) { return step.for_good; });
        record.Interrupt(std::max(now, record.attempts.back().start_time), {}, ServerLostError());
        ++found.interrupted;
      }
      jobs.push_back(std::make_shared<LiveJob>(std::move(record)));
      jobs.back()->SetKeeping(LiveJob::Keeping::kKept);
      if (cancelled) found.cancelled.push_back(jobs.back());
    }
    found.jobs += jobs.size();
    restore(jobs);
  }
  if (!missing.empty()) return PoolsMissingError(missing);
  for (std::optional<RequestId> after;;) {
    JOBPOOL_ASSIGN_OR_RETURN(std::vector<MadeRequest> requests, store.ListRequests(after, kPage));
    if (requests.empty()) break;
    after = requests.back().key.id;
    for (MadeRequest& request : requests) {
      if (request.expire_time > now) found.requests.push_back(std::move(request));
    }
  }
  std::sort(found.requests.begin(), found.requests.end(),
            [](const MadeRequest& a, const MadeRequest& b) { return a.expire_time < b.expire_time; });
  return found;
}

}  // namespace jobpool
