#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/pipeline/job_table.h"
#include "server/pipeline/live_job.h"
#include "server/store/job_store.h"

namespace jobpool {

/// A job as callers hold it: live when it was looked up, or ended before that.
struct JobHandle {
  std::shared_ptr<LiveJob> live;  // exactly one of the two is set
  EndedJob ended;

  JobSnapshot Snapshot() const;
  const std::string& id() const;

  /// Tells `waiter` of the job's end, at once if it has ended.
  void Await(const std::shared_ptr<Waiter>& waiter) const;
};

/// A job of a list.
struct ListedJob {
  std::optional<JobSnapshot> live;  // exactly one of the two is set
  EndedJob ended;
  JobPosition position;  // of which the list was there

  const std::string& id() const { return position.id; }
  JobSnapshot Snapshot() const;
};

/// A page of the list of all jobs.
struct JobPage {
  std::vector<ListedJob> jobs;
  /// Where the next page goes on; nothing: there is none. A page can be short, even
  /// empty, and not be the last.
  std::optional<JobPosition> next;
};

/// Sees live and ended jobs as one. Thread-safe; may block where the store does.
class JobReader {
 public:
  /// Both outlive it.
  JobReader(const JobTable& table, const JobStore& store) : table_(table), store_(store) {}

  /// NOT_FOUND: there is no such job.
  absl::StatusOr<JobHandle> Find(const std::string& id) const;

  /// Each job as it stood when it was found to match. A job that is there throughout,
  /// and whose place in the order stays, is in exactly one of the pages that follow one
  /// another.
  absl::StatusOr<JobPage> List(const JobQuery& query) const;

  /// A page of those that are live.
  LivePage ListLive(const JobQuery& query) const { return table_.List(query); }

 private:
  const JobTable& table_;
  const JobStore& store_;
};

}  // namespace jobpool
