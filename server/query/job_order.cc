#include "server/query/job_order.h"

#include <algorithm>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "server/base/status_macros.h"
#include "server/job/validation.h"

namespace jobpool {
namespace {

constexpr char kSupported[] =
    "; orders are any of state, kind, pool and priority followed by create_time, or one of start_time, "
    "end_time, "
    "schedule_time and deadline_time";

constexpr size_t kMaxShownBytes = 80;

bool IsFacetField(JobField field) { return field <= JobField::kPriority; }

bool IsOrderField(JobField field) {
  return IsFacetField(field) || (IsTime(field) && field != JobField::kExpireTime);
}

absl::Status Refused(absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat(what, kSupported));
}

std::string Shown(absl::string_view text) {
  if (!CountPrintable(text).has_value()) return "(not printable)";
  return absl::StrCat("\"", CutAtCharacter(text, kMaxShownBytes), "\"");
}

absl::StatusOr<JobOrder::Term> ParseTerm(absl::string_view text) {
  const std::vector<absl::string_view> words = absl::StrSplit(text, ' ', absl::SkipEmpty());
  if (words.empty()) return Refused("a field is missing");
  const std::optional<JobField> field = JobFieldNamed(words[0]);
  if (!field.has_value() || !IsOrderField(*field)) {
    return Refused(absl::StrCat("cannot be ordered by ", Shown(words[0])));
  }
  if (words.size() > 2 || (words.size() == 2 && words[1] != "desc")) {
    return Refused(absl::StrCat("after a field stands nothing or \"desc\", not ", Shown(words[1])));
  }
  return JobOrder::Term{*field, words.size() == 2};
}

template <typename T>
int Compare(const T& a, const T& b) {
  return a < b ? -1 : b < a ? 1 : 0;
}

int CompareField(JobField field, const Facet& a, const Facet& b) {
  switch (field) {
    case JobField::kState:
      return Compare(a.state, b.state);
    case JobField::kKind:
      return Compare(KindName(a.kind), KindName(b.kind));
    case JobField::kPriority:
      return Compare(a.priority, b.priority);
    default:
      return Compare(a.pool, b.pool);
  }
}

// Within `max`, an enum's value or a priority.
bool ReadNumber(absl::string_view text, int max, int& number) {
  return absl::SimpleAtoi(text, &number) && number >= 0 && number <= max;
}

}  // namespace

absl::StatusOr<JobOrder> JobOrder::Parse(absl::string_view text) {
  JobOrder order;
  if (absl::StripAsciiWhitespace(text).empty()) return order;
  std::vector<Term> terms;
  for (const absl::string_view part : absl::StrSplit(text, ',')) {
    JOBPOOL_ASSIGN_OR_RETURN(const Term term, ParseTerm(part));
    for (const Term& earlier : terms) {
      if (earlier.field == term.field) return Refused(absl::StrCat(JobFieldName(term.field), " comes twice"));
    }
    terms.push_back(term);
  }
  for (size_t i = 0; i < terms.size(); ++i) {
    const Term& term = terms[i];
    const bool is_last = i + 1 == terms.size();
    if (IsFacetField(term.field) && !order.time_term_.has_value()) {
      order.facet_terms_.push_back(term);
    } else if (term.field == JobField::kCreateTime && is_last &&
               (!order.time_term_.has_value() || term.descending)) {
      order.oldest_first_ = !term.descending;
    } else if (IsTime(term.field) && term.field != JobField::kCreateTime && i == 0) {
      order.time_term_ = term;
    } else {
      return Refused(absl::StrCat("cannot be ordered by ", JobFieldName(term.field), " in this place"));
    }
  }
  return order;
}

JobPosition JobOrder::PositionOf(const JobRecord& job) const {
  JobPosition position;
  position.create_time = job.create_time;
  position.id = job.id;
  if (time_term_.has_value()) position.time_nanos = NanosOf(*TimeOf(time_term_->field, job));
  if (!facet_terms_.empty()) {
    position.state = job.state;
    position.kind = KindOf(job.work);
    position.priority = job.priority;
    position.pool = *job.pool;
  }
  return position;
}

bool JobOrder::Before(const JobPosition& a, const JobPosition& b) const {
  if (const int facets = CompareFacets(FacetOf(a), FacetOf(b)); facets != 0) return facets < 0;
  if (time_term_.has_value() && a.time_nanos != b.time_nanos) {
    return (a.time_nanos < b.time_nanos) != time_term_->descending;
  }
  if (a.create_time != b.create_time) return (a.create_time < b.create_time) == oldest_first_;
  return a.id != b.id && (a.id < b.id) == oldest_first_;
}

int JobOrder::CompareFacets(const Facet& a, const Facet& b) const {
  for (const Term& term : facet_terms_) {
    const int compared = CompareField(term.field, a, b);
    if (compared != 0) return term.descending ? -compared : compared;
  }
  return 0;
}

// Nanoseconds since 1970 and the id, which has no blank; then what comes first in the order.
std::string JobOrder::Encode(const JobPosition& position) const {
  std::string text = absl::StrCat(NanosOf(position.create_time), " ", position.id);
  if (time_term_.has_value()) absl::StrAppend(&text, " ", position.time_nanos);
  for (const Term& term : facet_terms_) {
    switch (term.field) {
      case JobField::kState:
        absl::StrAppend(&text, " ", static_cast<int>(position.state));
        break;
      case JobField::kKind:
        absl::StrAppend(&text, " ", static_cast<int>(position.kind));
        break;
      case JobField::kPriority:
        absl::StrAppend(&text, " ", position.priority);
        break;
      default:
        absl::StrAppend(&text, " ", position.pool);
    }
  }
  return text;
}

std::optional<JobPosition> JobOrder::Decode(absl::string_view text) const {
  const std::vector<absl::string_view> parts = absl::StrSplit(text, ' ');
  JobPosition position;
  int64_t nanos = 0;
  if (parts.size() != 2 + (time_term_.has_value() ? 1 : 0) + facet_terms_.size() ||
      !absl::SimpleAtoi(parts[0], &nanos)) {
    return std::nullopt;
  }
  position.create_time = absl::FromUnixNanos(nanos);
  position.id = std::string(parts[1]);
  size_t next = 2;
  if (time_term_.has_value() && !absl::SimpleAtoi(parts[next++], &position.time_nanos)) return std::nullopt;
  for (const Term& term : facet_terms_) {
    const absl::string_view part = parts[next++];
    int number = 0;
    switch (term.field) {
      case JobField::kState:
        if (!ReadNumber(part, static_cast<int>(JobState::kCancelled), number)) return std::nullopt;
        position.state = static_cast<JobState>(number);
        break;
      case JobField::kKind:
        if (!ReadNumber(part, static_cast<int>(kKindCount) - 1, number)) return std::nullopt;
        position.kind = static_cast<Kind>(number);
        break;
      case JobField::kPriority:
        if (!ReadNumber(part, kPriorities - 1, position.priority)) return std::nullopt;
        break;
      default:
        position.pool = std::string(part);
    }
  }
  return position;
}

}  // namespace jobpool
