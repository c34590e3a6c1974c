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
  ListKey Key() const;

  /// Tells `waiter` of the job's end, at once if it has ended.
  void Await(const std::shared_ptr<Waiter>& waiter) const;
};

/// A page of the list of all jobs.
struct JobPage {
  std::vector<JobHandle> jobs;
  bool more = false;  // there are jobs after the last one
};

/// Sees live and ended jobs as one. Thread-safe; may block where the store does.
class JobReader {
 public:
  /// Both outlive it.
  JobReader(const JobTable& table, const JobStore& store) : table_(table), store_(store) {}

  /// NOT_FOUND: there is no such job.
  absl::StatusOr<JobHandle> Find(const std::string& id) const;

  /// At most `limit` jobs in list order, the first after `after`. A job that is
  /// there throughout is in exactly one of the pages that follow one another.
  absl::StatusOr<JobPage> List(const std::optional<ListKey>& after, size_t limit) const;

  /// Every job that is live now.
  std::vector<std::shared_ptr<LiveJob>> Live() const { return table_.All(); }

 private:
  const JobTable& table_;
  const JobStore& store_;
};

}  // namespace jobpool
