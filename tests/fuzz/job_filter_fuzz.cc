// Filters and orders: what parses agrees with itself, about a facet, about what a match must have, and about
// its own opposite; what does not is told in UTF-8. Positions: there and back.

#include <algorithm>
#include <fuzzer/FuzzedDataProvider.h>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "server/query/job_filter.h"
#include "server/query/job_order.h"
#include "tests/fuzz/check.h"
#include "tests/fuzz/utf8_oracle.h"

namespace jobpool {
namespace {

// One that has only what every job has, one that waits, one that runs and one that has ended.
std::vector<JobRecord> MakeJobs() {
  std::vector<JobRecord> jobs(4);
  for (size_t i = 0; i < jobs.size(); ++i) {
    jobs[i].id = absl::StrCat("j", i);
    jobs[i].number = i;
    jobs[i].work = NoopWork{};
    jobs[i].pool = std::make_shared<const std::string>("x");
    jobs[i].create_time = absl::FromUnixSeconds(1'767'225'600);
  }
  JobOptions options;
  options.display_name = "nightly";
  options.labels = {{"a", ""}, {"team", "a"}};
  options.schedule_time = absl::FromUnixSeconds(1'767'225'601);
  options.deadline_time = absl::FromUnixSeconds(1'767'225'602);
  options.retry_of = "first";
  jobs[1].options = std::make_shared<const JobOptions>(options);
  jobs[1].state = JobState::kScheduled;
  jobs[1].priority = 9;
  jobs[2].daemon = true;
  jobs[3].options = jobs[1].options;
  for (const size_t i : {2, 3}) {
    Attempt attempt;
    attempt.start_time = absl::FromUnixSeconds(1'767'225'603);
    jobs[i].Start(attempt);
  }
  Outcome outcome;
  outcome.end_time = absl::FromUnixSeconds(1'767'225'604);
  jobs[3].End(JobState::kFailed, {}, std::move(outcome));
  return jobs;
}

const std::vector<JobRecord>& Jobs() {
  static const auto* const jobs = new std::vector<JobRecord>(MakeJobs());
  return *jobs;
}

bool HasWhatIsNeeded(const FilterNeeds& needs, const JobRecord& job) {
  const Labels& labels = job.Options().labels;
  for (const auto& label : needs.labels) {
    if (std::find(labels.begin(), labels.end(), label) == labels.end()) return false;
  }
  for (const std::string& key : needs.label_keys) {
    if (std::none_of(labels.begin(), labels.end(), [&](const auto& label) { return label.first == key; })) {
      return false;
    }
  }
  if (needs.display_name.has_value() && *needs.display_name != job.DisplayName()) return false;
  if (!absl::StartsWith(job.DisplayName(), needs.display_name_prefix.value_or(""))) return false;
  for (auto field = JobField::kCreateTime; field <= JobField::kDeadlineTime;
       field = static_cast<JobField>(static_cast<int>(field) + 1)) {
    const TimeBounds& bounds = needs.Of(field);
    if (!bounds.needed) continue;
    const std::optional<absl::Time> time = TimeOf(field, job);
    if (!time.has_value() || *time < bounds.first || *time > bounds.last) return false;
  }
  return true;
}

void CheckFilter(const std::string& text) {
  const absl::StatusOr<JobFilter> filter = JobFilter::Parse(text);
  if (!filter.ok()) {
    FUZZ_CHECK(IsUtf8(absl::string_view(filter.status().message())));
    return;
  }
  const absl::StatusOr<JobFilter> opposite = JobFilter::Parse(absl::StrCat("NOT (", text, ")"));
  const absl::StatusOr<JobFilter> twice = JobFilter::Parse(absl::StrCat("(", text, ") (", text, ")"));
  for (const JobRecord& job : Jobs()) {
    const bool matches = filter->Matches(job);
    for (const std::optional<bool> daemon : {std::optional<bool>(), std::optional<bool>(job.daemon)}) {
      const Truth truth = filter->OfFacet({job.state, KindOf(job.work), job.priority, daemon, *job.pool});
      if (truth != Truth::kUnknown) FUZZ_CHECK(matches == (truth == Truth::kTrue));
    }
    if (matches) FUZZ_CHECK(HasWhatIsNeeded(filter->needs(), job));
    if (opposite.ok()) FUZZ_CHECK(opposite->Matches(job) != matches);
    if (twice.ok()) FUZZ_CHECK(twice->Matches(job) == matches);
  }
}

void CheckOrder(const std::string& text, const std::string& position_text) {
  const absl::StatusOr<JobOrder> order = JobOrder::Parse(text);
  if (!order.ok()) {
    FUZZ_CHECK(IsUtf8(absl::string_view(order.status().message())));
    return;
  }
  if (const std::optional<JobPosition> position = order->Decode(position_text); position.has_value()) {
    const std::optional<JobPosition> again = order->Decode(order->Encode(*position));
    FUZZ_CHECK(again.has_value());
    FUZZ_CHECK(!order->Before(*position, *again) && !order->Before(*again, *position));
  }
  for (const JobRecord& a : Jobs()) {
    for (const JobRecord& b : Jobs()) {
      if (!order->Has(a) || !order->Has(b)) continue;
      const bool before = order->Before(order->PositionOf(a), order->PositionOf(b));
      const bool after = order->Before(order->PositionOf(b), order->PositionOf(a));
      FUZZ_CHECK(a.id == b.id ? !before && !after : before != after);
    }
  }
}

}  // namespace
}  // namespace jobpool

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  FuzzedDataProvider data(bytes, size);
  if (data.ConsumeBool()) {
    jobpool::CheckFilter(data.ConsumeRemainingBytesAsString());
  } else {
    const std::string position = data.ConsumeRandomLengthString(60);
    jobpool::CheckOrder(data.ConsumeRemainingBytesAsString(), position);
  }
  return 0;
}
