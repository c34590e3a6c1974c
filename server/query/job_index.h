#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "server/job/job_record.h"
#include "server/query/index_sets.h"
#include "server/query/job_field.h"
#include "server/query/job_query.h"

namespace jobpool {

/// Finds jobs by what a JobQuery asks for, in its order, and looks at few others. Not
/// thread-safe: whoever owns it guards it, and the records in it, which it does not
/// own.
///
/// Every job is in one set of those of its facet, which together give all jobs by
/// create_time; a job without options that has not started is in no other. Labels,
/// display names that were asked for, and the times have sets of their own.
class JobIndex {
 public:
  /// What the index knows a job by, as far as it can change.
  struct Keys {
    explicit Keys(const JobRecord& job);

    JobState state;
    uint8_t priority;
    std::optional<int64_t> start_nanos;
    std::optional<int64_t> end_nanos;
    std::shared_ptr<const JobOptions> options;
  };

  JobIndex() = default;
  JobIndex(const JobIndex&) = delete;
  JobIndex& operator=(const JobIndex&) = delete;

  /// REQUIRES: no job with its id and create_time is in it.
  void Insert(const JobRecord* job);

  /// REQUIRES: `job` is in it, and has not changed since Insert or Update.
  void Erase(const JobRecord* job);

  /// Follows a change of `job`, which is in it and had the keys `before`. Cheap where
  /// none of them is another now. REQUIRES: id, work, pool and create_time are the same.
  void Update(const JobRecord* job, const Keys& before);

  struct Found {
    std::vector<const JobRecord*> jobs;  // in the query's order
    /// Nothing: there are no others. Else the place up to which it has looked.
    std::optional<JobPosition> looked_up_to;
    size_t looked_at = 0;
  };

  /// Calls `fn(const Facet&, size_t)` for each facet that there are jobs of, with how
  /// many.
  template <typename Fn>
  void CountFacets(Fn fn) const {
    for (const FacetSet* const set : facets_) fn(set->facet, set->jobs.size());
  }

  /// Looks at `max_looked_at` jobs at most, beside a few that say how to look best.
  Found List(const JobQuery& query) const;

 private:
  struct FacetSet {
    Facet facet;
    AgeSet jobs;
  };
  static constexpr size_t kStates = static_cast<size_t>(JobState::kCancelled) + 1;
  static constexpr size_t kCells = kStates * kKindCount * kPriorities * 2;  // 2: daemons and others
  // Names, not addresses, tell pools apart: records may have their own.
  struct Pool {
    std::shared_ptr<const std::string> name;
    std::array<std::unique_ptr<FacetSet>, kCells> cells;
  };
  class Lister;

  Pool& PoolOf(const JobRecord& job);
  AgeSet& SetOf(const JobRecord& job, JobState state, uint8_t priority);
  void InsertOptions(const JobRecord* job, const JobOptions& options);
  void EraseOptions(const JobRecord* job, const JobOptions& options);

  std::vector<std::unique_ptr<Pool>> pools_;
  std::vector<const FacetSet*> facets_;
  LabelSet labels_;
  NameSet names_;
  TimeSet starts_;
  TimeSet ends_;
  TimeSet schedules_;
  TimeSet deadlines_;
};

}  // namespace jobpool
