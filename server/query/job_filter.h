#pragma once

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "server/job/job_record.h"
#include "server/query/filter_node.h"
#include "server/query/job_field.h"

namespace jobpool {

/// What is known of a filter before all of a job is.
enum class Truth : unsigned char { kFalse, kUnknown, kTrue };

/// Where a time must be, at least: both ends may be in it.
struct TimeBounds {
  bool needed = false;  // the job must have the time
  absl::Time first = absl::InfinitePast();
  absl::Time last = absl::InfiniteFuture();
};

/// What every job that matches a filter has, as far as it can be told from the
/// comparisons that are joined by AND: for who looks jobs up by it.
struct FilterNeeds {
  std::vector<std::pair<std::string, std::string>> labels;  // keys and values
  std::vector<std::string> label_keys;                      // with any value
  std::optional<std::string> display_name;
  std::optional<std::string> display_name_prefix;

  const TimeBounds& Of(JobField time) const { return times[Index(time)]; }
  TimeBounds& Of(JobField time) { return times[Index(time)]; }

 private:
  static size_t Index(JobField time) {
    return static_cast<size_t>(time) - static_cast<size_t>(JobField::kCreateTime);
  }

  std::array<TimeBounds, 6> times;
};

/// Which jobs are asked for; an immutable value, cheap to copy, that threads may
/// share. ListJobsRequest says what it can express.
class JobFilter {
 public:
  /// All jobs.
  JobFilter();

  /// INVALID_ARGUMENT: a message that says what is wrong and at which character; no
  /// details, the caller knows the field.
  static absl::StatusOr<JobFilter> Parse(absl::string_view text);

  bool Matches(const JobRecord& job) const;

  /// Whether all jobs of `facet` match, none, or some may.
  Truth OfFacet(const Facet& facet) const;

  const FilterNeeds& needs() const { return tree_->needs; }

 private:
  struct Tree {
    FilterNode root;
    FilterNeeds needs;
  };

  explicit JobFilter(FilterNode root);

  std::shared_ptr<const Tree> tree_;
};

}  // namespace jobpool
