#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "server/job/job_record.h"
#include "server/query/job_field.h"

namespace jobpool {

/// A place in a list of jobs: that of one that is there, or was. What the list's
/// order does not look at may be left at its default.
struct JobPosition {
  absl::Time create_time;
  std::string id;
  int64_t time_nanos = 0;  // of the time that the list is ordered by, since 1970
  JobState state = JobState::kQueued;
  Kind kind = Kind::kNoop;
  int priority = kDefaultPriority;
  std::string pool = {};
};

/// In which order jobs are listed: an immutable value. One of these, each of which an
/// index gives:
/// - by any of `state` (in the order of a job's life), `kind` and `pool` (by name) and
///   `priority`, then by `create_time`;
/// - by one of the other times, then by `create_time`, newest first; jobs that do not
///   have that time are left out.
/// What is still equal goes by id, in the direction of `create_time`: an order is total.
class JobOrder {
 public:
  struct Term {
    JobField field;
    bool descending;
  };

  /// Newest first.
  JobOrder() = default;

  /// AIP-132: fields, each with ` desc` or not, separated by commas; empty: the
  /// default. INVALID_ARGUMENT: a message that says what is wrong; no details.
  static absl::StatusOr<JobOrder> Parse(absl::string_view text);

  /// `state`, `kind`, `pool`, `priority`, as far as they are named.
  const std::vector<Term>& facet_terms() const { return facet_terms_; }
  /// The time other than `create_time` that it begins with.
  const std::optional<Term>& time_term() const { return time_term_; }
  /// Equal ones come by `create_time`, oldest first.
  bool oldest_first() const { return oldest_first_; }

  /// Whether `job` is listed at all.
  bool Has(const JobRecord& job) const {
    return !time_term_.has_value() || TimeOf(time_term_->field, job).has_value();
  }

  /// REQUIRES: Has(job).
  JobPosition PositionOf(const JobRecord& job) const;

  /// Whether `a` is listed before `b`.
  bool Before(const JobPosition& a, const JobPosition& b) const;

  /// Negative: `a` comes first, 0: the order makes no difference between them.
  int CompareFacets(const Facet& a, const Facet& b) const;

  /// A position as text, for tokens, and back. Nothing: it is not one of this order.
  std::string Encode(const JobPosition& position) const;
  std::optional<JobPosition> Decode(absl::string_view text) const;

 private:
  std::vector<Term> facet_terms_;
  std::optional<Term> time_term_;
  bool oldest_first_ = false;
};

/// Since 1970; what cannot be told in nanoseconds is as near as can be.
inline int64_t NanosOf(absl::Time time) { return absl::ToUnixNanos(time); }

inline Facet FacetOf(const JobPosition& position) {
  return {position.state, position.kind, position.priority, std::nullopt, position.pool};
}

}  // namespace jobpool
