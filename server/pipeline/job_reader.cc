#include "server/pipeline/job_reader.h"

#include <utility>

#include "server/base/status_macros.h"
#include "server/job/errors.h"
#include "server/job/resource_name.h"

namespace jobpool {

JobSnapshot JobHandle::Snapshot() const {
  if (live != nullptr) return live->Snapshot();
  return JobSnapshot{*ended, ended->outcome->progress};
}

ListKey JobHandle::Key() const {
  if (live != nullptr) return {live->create_time(), live->id()};
  return {ended->create_time, ended->id};
}

void JobHandle::Await(const std::shared_ptr<Waiter>& waiter) const {
  if (live == nullptr) {
    waiter->OnJobEnd(ended);
  } else if (!live->AddWaiter(waiter)) {
    waiter->OnJobEnd(std::make_shared<const JobRecord>(live->Snapshot().record));
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

absl::StatusOr<JobPage> JobReader::List(const std::optional<ListKey>& after, size_t limit) const {
  const std::vector<std::shared_ptr<LiveJob>> live = table_.List(after, limit + 1);
  JOBPOOL_ASSIGN_OR_RETURN(const std::vector<EndedJob> ended, store_.List(after, limit + 1));
  JobPage page;
  auto l = live.begin();
  auto e = ended.begin();
  while (l != live.end() || e != ended.end()) {
    if (page.jobs.size() == limit) {
      page.more = true;
      break;
    }
    if (e == ended.end() ||
        (l != live.end() && ListKey::Before((*l)->create_time(), (*l)->id(), (*e)->create_time, (*e)->id))) {
      page.jobs.push_back(JobHandle{*l++, nullptr});
    } else {
      // Ends just now, and its end may not have been shown yet: the live one knows.
      const bool both = l != live.end() && (*l)->id() == (*e)->id;
      page.jobs.push_back(both ? JobHandle{*l++, nullptr} : JobHandle{nullptr, *e});
      ++e;
    }
  }
  return page;
}

}  // namespace jobpool
