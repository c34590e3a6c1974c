#include "server/query/job_index.h"

namespace jobpool {
namespace {

std::optional<int64_t> FieldNanos(JobField field, const JobRecord& job) {
  const std::optional<absl::Time> time = TimeOf(field, job);
  if (!time.has_value()) return std::nullopt;
  return NanosOf(*time);
}

// Of a time that the options say.
std::optional<int64_t> FiniteNanos(absl::Time time) {
  if (time == absl::InfinitePast() || time == absl::InfiniteFuture()) return std::nullopt;
  return NanosOf(time);
}

AgeEntry EntryOf(const JobRecord* job) { return {NanosOf(job->create_time), job}; }

void Replace(TimeSet& set, const JobRecord* job, std::optional<int64_t> before,
             std::optional<int64_t> after) {
  if (before == after) return;
  if (before.has_value()) set.erase(TimeEntry{*before, job});
  if (after.has_value()) set.insert(TimeEntry{*after, job});
}

}  // namespace

JobIndex::Keys::Keys(const JobRecord& job)
    : state(job.state),
      priority(job.priority),
      start_nanos(FieldNanos(JobField::kStartTime, job)),
      end_nanos(FieldNanos(JobField::kEndTime, job)),
      options(job.options) {}

void JobIndex::Insert(const JobRecord* job) {
  SetOf(*job, job->state, job->priority).insert(EntryOf(job));
  Replace(starts_, job, std::nullopt, FieldNanos(JobField::kStartTime, *job));
  Replace(ends_, job, std::nullopt, FieldNanos(JobField::kEndTime, *job));
  if (job->options != nullptr) InsertOptions(job, *job->options);
}

void JobIndex::Erase(const JobRecord* job) {
  SetOf(*job, job->state, job->priority).erase(EntryOf(job));
  Replace(starts_, job, FieldNanos(JobField::kStartTime, *job), std::nullopt);
  Replace(ends_, job, FieldNanos(JobField::kEndTime, *job), std::nullopt);
  if (job->options != nullptr) EraseOptions(job, *job->options);
}

void JobIndex::Update(const JobRecord* job, const Keys& before) {
  if (job->state != before.state || job->priority != before.priority) {
    SetOf(*job, before.state, before.priority).erase(EntryOf(job));
    SetOf(*job, job->state, job->priority).insert(EntryOf(job));
  }
  Replace(starts_, job, before.start_nanos, FieldNanos(JobField::kStartTime, *job));
  Replace(ends_, job, before.end_nanos, FieldNanos(JobField::kEndTime, *job));
  if (job->options != before.options) {
    if (before.options != nullptr) EraseOptions(job, *before.options);
    if (job->options != nullptr) InsertOptions(job, *job->options);
  }
}

void JobIndex::InsertOptions(const JobRecord* job, const JobOptions& options) {
  for (const Labels::value_type& label : options.labels)
    labels_.insert(LabelEntry(label.first, label.second, job));
  if (!options.display_name.empty()) names_.insert(NameEntry{&options.display_name, job});
  Replace(schedules_, job, std::nullopt, FiniteNanos(options.schedule_time));
  Replace(deadlines_, job, std::nullopt, FiniteNanos(options.deadline_time));
}

void JobIndex::EraseOptions(const JobRecord* job, const JobOptions& options) {
  for (const Labels::value_type& label : options.labels)
    labels_.erase(LabelEntry(label.first, label.second, job));
  if (!options.display_name.empty()) names_.erase(NameEntry{&options.display_name, job});
  Replace(schedules_, job, FiniteNanos(options.schedule_time), std::nullopt);
  Replace(deadlines_, job, FiniteNanos(options.deadline_time), std::nullopt);
}

// The name that is held here keeps its address from being another pool's.
JobIndex::Pool& JobIndex::PoolOf(const JobRecord& job) {
  for (const auto& pool : pools_) {
    if (pool->name == job.pool) return *pool;
  }
  for (const auto& pool : pools_) {
    if (*pool->name == *job.pool) return *pool;
  }
  pools_.push_back(std::make_unique<Pool>());
  pools_.back()->name = job.pool;
  return *pools_.back();
}

AgeSet& JobIndex::SetOf(const JobRecord& job, JobState state, uint8_t priority) {
  Pool& pool = PoolOf(job);
  const Kind kind = KindOf(job.work);
  const size_t of_kind = static_cast<size_t>(state) * kKindCount + static_cast<size_t>(kind);
  std::unique_ptr<FacetSet>& cell = pool.cells[(of_kind * kPriorities + priority) * 2 + (job.daemon ? 1 : 0)];
  if (cell == nullptr) {
    cell = std::make_unique<FacetSet>(FacetSet{{state, kind, priority, job.daemon, *pool.name}, {}});
    facets_.push_back(cell.get());
  }
  return cell->jobs;
}

}  // namespace jobpool
