#include "server/pipeline/job_reader.h"

#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/string_view.h"
#include "server/base/status_macros.h"
#include "server/job/errors.h"
#include "server/job/resource_name.h"

namespace jobpool {

JobSnapshot JobHandle::Snapshot() const {
  if (live != nullptr) return live->Snapshot();
  return JobSnapshot{*ended, ended->outcome->progress};
}

const std::string& JobHandle::id() const { return live != nullptr ? live->id() : ended->id; }

JobSnapshot ListedJob::Snapshot() const {
  if (live.has_value()) return *live;
  return JobSnapshot{*ended, ended->outcome->progress};
}

void JobHandle::Await(const std::shared_ptr<Waiter>& waiter) const {
  if (live == nullptr) {
    waiter->OnJobEnd(ended);
    return;
  }
  switch (live->AddWaiter(waiter)) {
    case LiveJob::Await::kAdded:
      break;
    case LiveJob::Await::kEnded:
      waiter->OnJobEnd(std::make_shared<const JobRecord>(live->Snapshot().record));
      break;
    case LiveJob::Await::kLeft:
      waiter->OnJobLeft();
      break;
  }
}

// A job that ends is put into the store before it leaves the table: read in this
// order, it cannot be missed, only seen twice.
absl::StatusOr<JobHandle> JobReader::Find(const std::string& id) const {
  if (std::shared_ptr<LiveJob> live = table_.Find(id); live != nullptr)
    return JobHandle{std::move(live), nullptr};
  JOBPOOL_ASSIGN_OR_RETURN(EndedJob ended, store_.Get(id));
  if (ended == nullptr) return JobNotFoundError(JobName(id));
  return JobHandle{nullptr, std::move(ended)};
}

// The table first, as in Find. A job that is in the store while it still is in the table has not shown its
// end: then what the table said of it holds, also where that was that it does not match.
absl::StatusOr<JobPage> JobReader::List(const JobQuery& query) const {
  const JobOrder& order = query.order;
  JobQuery one_more = query;  // so that the last page knows that it is
  ++one_more.limit;
  LivePage live = table_.List(one_more);
  JOBPOOL_ASSIGN_OR_RETURN(StoredPage ended, store_.List(one_more));
  absl::flat_hash_set<absl::string_view> live_ids;
  for (const LivePage::Job& job : live.jobs) live_ids.insert(job.position.id);
  std::vector<ListedJob> kept;
  for (EndedJob& job : ended.jobs) {
    if (live_ids.contains(job->id) || table_.Find(job->id) != nullptr) continue;
    JobPosition position = order.PositionOf(*job);
    kept.push_back({std::nullopt, std::move(job), std::move(position)});
  }

  // Jobs behind the place that either has looked up to must wait.
  JobPage page;
  std::optional<JobPosition> end = live.looked_up_to;
  if (!end.has_value() || (ended.looked_up_to.has_value() && order.Before(*ended.looked_up_to, *end))) {
    end = ended.looked_up_to;
  }
  auto l = live.jobs.begin();
  auto e = kept.begin();
  while (l != live.jobs.end() || e != kept.end()) {
    const bool is_live = e == kept.end() || (l != live.jobs.end() && order.Before(l->position, e->position));
    JobPosition& position = is_live ? l->position : e->position;
    if (end.has_value() && order.Before(*end, position)) break;
    if (page.jobs.size() == query.limit) {
      page.next = page.jobs.back().position;
      return page;
    }
    if (is_live) {
      page.jobs.push_back({std::move(l->snapshot), nullptr, std::move(position)});
      ++l;
    } else {
      page.jobs.push_back(std::move(*e));
      ++e;
    }
  }
  page.next = std::move(end);
  return page;
}

}  // namespace jobpool
