#include "server/pipeline/job_table.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "server/base/bounded_add.h"
#include "server/base/status_macros.h"
#include "server/job/errors.h"
#include "server/job/resource_name.h"

namespace jobpool {

absl::Status JobTable::Insert(absl::Span<const std::shared_ptr<LiveJob>> jobs, const Lookup* lookup,
                              size_t* taken, const std::function<void()>& last) {
  int64_t bytes = 0;
  std::vector<const LiveJob*> reserved;
  for (size_t i = 0; i < jobs.size(); ++i) {
    bytes += jobs[i]->GivenBytes();
    if (lookup == nullptr || !lookup->is_looked_up(i)) continue;
    if (absl::Status free = Reserve(jobs[i]->id(), lookup->store); !free.ok()) {
      if (taken != nullptr) *taken = i;
      Unreserve(reserved);
      return free;
    }
    reserved.push_back(jobs[i].get());
  }
  if (absl::Status added = AddBytes(bytes); !added.ok()) {
    Unreserve(reserved);
    return added;
  }
  absl::Status inserted = InsertLocked(jobs, reserved, taken, last);
  if (!inserted.ok()) bytes_.fetch_sub(bytes);
  return inserted;
}

void JobTable::Reserve(size_t jobs) {
  for (Shard& shard : shards_) {
    MutexLock lock(shard.mu);
    shard.jobs.reserve(jobs / kShards + jobs / (8 * kShards));  // they do not spread quite evenly
  }
}

void JobTable::Restore(absl::Span<const std::shared_ptr<LiveJob>> jobs) {
  int64_t bytes = 0;
  std::array<std::vector<const std::shared_ptr<LiveJob>*>, kShards> of_shards;
  for (const auto& job : jobs) {
    bytes += job->GivenBytes();
    of_shards[ShardIndex(job->id())].push_back(&job);
  }
  for (size_t i = 0; i < kShards; ++i) {
    MutexLock lock(shards_[i].mu);
    for (const auto* const job : of_shards[i]) shards_[i].jobs.prefetch(absl::string_view((*job)->id()));
    for (const auto* const job : of_shards[i]) {
      shards_[i].jobs.insert(*job);
      shards_[i].index.Insert(&(*job)->record());
    }
  }
  bytes_.fetch_add(bytes);
  size_.fetch_add(jobs.size());
}

// A job that ends is in the store before it leaves the table: an id that is free in the table, and kept free
// there, is either in the store now or was never used. Without the lock, since the store may take its time.
absl::Status JobTable::Reserve(const std::string& id, const JobStore& store) {
  Shard& shard = ShardOf(id);
  {
    MutexLock lock(shard.mu);
    if (shard.jobs.contains(absl::string_view(id)) || !shard.reserved.insert(id).second) {
      return JobExistsError(JobName(id));
    }
  }
  const absl::StatusOr<EndedJob> ended = store.Get(id);
  if (ended.ok() && *ended == nullptr) return absl::OkStatus();
  MutexLock lock(shard.mu);
  shard.reserved.erase(id);
  return ended.ok() ? JobExistsError(JobName(id)) : ended.status();
}

void JobTable::Unreserve(absl::Span<const LiveJob* const> jobs) {
  for (const LiveJob* const job : jobs) {
    Shard& shard = ShardOf(job->id());
    MutexLock lock(shard.mu);
    shard.reserved.erase(job->id());
  }
}

// Takes the locks of all the shards that it needs, in their order: who sees one of the jobs can see all of
// them. (Which locks those are is beyond the analysis.)
absl::Status JobTable::InsertLocked(absl::Span<const std::shared_ptr<LiveJob>> jobs,
                                    absl::Span<const LiveJob* const> reserved, size_t* taken,
                                    const std::function<void()>& last) ABSL_NO_THREAD_SAFETY_ANALYSIS {
  ShardSet needed;
  for (const auto& job : jobs) needed.set(ShardIndex(job->id()));
  for (size_t i = 0; i < kShards; ++i) {
    if (needed[i]) shards_[i].mu.Lock();
  }
  absl::Status status;
  size_t inserted = 0;
  for (const LiveJob* const job : reserved) ShardOf(job->id()).reserved.erase(job->id());
  for (const auto& job : jobs) {
    Shard& shard = ShardOf(job->id());
    if (shard.closed) {
      status = ShuttingDownError();
    } else if (shard.reserved.contains(job->id()) || !shard.jobs.insert(job).second) {
      status = JobExistsError(JobName(job->id()));
      if (taken != nullptr) *taken = inserted;
    } else {
      shard.index.Insert(&job->record());
      ++inserted;
    }
    if (!status.ok()) break;
  }
  if (status.ok()) {
    size_.fetch_add(inserted);
    if (last) last();
  } else {
    for (const auto& job : jobs.first(inserted)) {
      Shard& shard = ShardOf(job->id());
      shard.index.Erase(&job->record());
      shard.jobs.erase(job);
    }
  }
  for (size_t i = 0; i < kShards; ++i) {
    if (needed[i]) shards_[i].mu.Unlock();
  }
  return status;
}

absl::Status JobTable::CheckInsert(absl::Span<const std::string> ids, int64_t bytes,
                                   const JobStore& store) const {
  if (closed_.load()) return ShuttingDownError();
  absl::flat_hash_set<absl::string_view> seen;
  for (const std::string& id : ids) {
    if (id.empty()) continue;
    if (!seen.insert(id).second || Find(id) != nullptr) return JobExistsError(JobName(id));
    JOBPOOL_ASSIGN_OR_RETURN(const EndedJob ended, store.Get(id));
    if (ended != nullptr) return JobExistsError(JobName(id));
  }
  const int64_t max_bytes = max_bytes_.load();
  return bytes_.load() + bytes > max_bytes ? PayloadsFullError(max_bytes) : absl::OkStatus();
}

absl::Status JobTable::AddBytes(int64_t bytes) {
  const int64_t max_bytes = max_bytes_.load();
  return AddUpTo(bytes_, bytes, max_bytes) ? absl::OkStatus() : PayloadsFullError(max_bytes);
}

void JobTable::Erase(const LiveJob& job, absl::FunctionRef<void()> last, absl::FunctionRef<void()> tell) {
  std::shared_ptr<LiveJob> erased;  // let go of after the lock
  Shard& shard = ShardOf(job.id());
  {
    MutexLock lock(shard.mu);
    shard.index.Erase(&job.record());
    const auto found = shard.jobs.find(absl::string_view(job.id()));
    erased = *found;
    shard.jobs.erase(found);
    last();
  }
  bytes_.fetch_sub(job.GivenBytes());
  CountOut(tell);
}

void JobTable::Leave(absl::FunctionRef<void()> tell) { CountOut(tell); }

// Who sees the size without the job sees that is being told.
void JobTable::CountOut(absl::FunctionRef<void()> tell) {
  telling_.fetch_add(1);
  size_.fetch_sub(1);
  tell();
  telling_.fetch_sub(1);
  // In this order: once it is closed, it stays empty.
  if (closed_.load() && empty()) Announce();
}

std::shared_ptr<LiveJob> JobTable::Find(absl::string_view id) const {
  const Shard& shard = ShardOf(id);
  MutexLock lock(shard.mu);
  const auto found = shard.jobs.find(id);
  return found != shard.jobs.end() ? *found : nullptr;
}

bool JobTable::Change(LiveJob& job, absl::FunctionRef<bool()> change) {
  Shard& shard = ShardOf(job.id());
  MutexLock lock(shard.mu);
  const JobIndex::Keys before(job.record());
  if (!change()) return false;
  shard.index.Update(&job.record(), before);
  return true;
}

/// What a list has found in one shard, a part at a time: so that no more than a page's
/// share is looked at in each, where they are alike.
class JobTable::ShardReader {
 public:
  ShardReader(const Shard& shard, const JobQuery& query) : shard_(shard), query_(query) {
    // Where jobs spread evenly, that is enough for most shards.
    const double share = static_cast<double>(query.limit) / kShards;
    query_.limit = std::min(query.limit, static_cast<size_t>(share + std::sqrt(share)) + 1);
    query_.max_looked_at = std::max<size_t>(query.max_looked_at / kShards, 1);
  }

  /// Looks further if it has given all that it has found. Returns whether there is one.
  bool Fill() {
    if (next_ < found_.size()) return true;
    if (looked_to_the_end_ || query_.max_looked_at == 0) return false;
    found_.clear();
    next_ = 0;
    MutexLock lock(shard_.mu);
    const JobIndex::Found found = shard_.index.List(query_);
    // Of a million jobs few are in the processor's caches: so memory is asked for all of them at once.
    for (const JobRecord* record : found.jobs) Prefetch(record, sizeof(LiveJob));
    for (const JobRecord* record : found.jobs) {
      shard_.jobs.prefetch(absl::string_view(record->id));
      if (record->options != nullptr) Prefetch(record->options.get(), sizeof(JobOptions));
    }
    for (const JobRecord* record : found.jobs) {
      found_.push_back(
          {(*shard_.jobs.find(absl::string_view(record->id)))->Snapshot(), query_.order.PositionOf(*record)});
    }
    query_.max_looked_at -= std::min(query_.max_looked_at, found.looked_at);
    looked_to_the_end_ = !found.looked_up_to.has_value();
    query_.after = found.looked_up_to;
    return !found_.empty();
  }

  const JobPosition& position() const { return found_[next_].position; }
  LivePage::Job Take() { return std::move(found_[next_++]); }

  /// Nothing: there are no others. REQUIRES: Fill() has returned false.
  const std::optional<JobPosition>& looked_up_to() const { return query_.after; }

 private:
  static void Prefetch(const void* memory, size_t bytes) {
    for (size_t offset = 0; offset < bytes; offset += 64) {
      __builtin_prefetch(static_cast<const char*>(memory) + offset);
    }
  }

  const Shard& shard_;
  JobQuery query_;
  std::vector<LivePage::Job> found_;
  size_t next_ = 0;
  bool looked_to_the_end_ = false;
};

// What lies behind the place that some shard was looked at up to is left for the next call.
LivePage JobTable::List(const JobQuery& query) const {
  std::vector<ShardReader> shards;
  for (const Shard& shard : shards_) shards.emplace_back(shard, query);
  const auto before = [&](const JobPosition& a, const JobPosition& b) { return query.order.Before(a, b); };
  LivePage page;
  for (;;) {
    ShardReader* first = nullptr;
    const JobPosition* end = nullptr;
    for (ShardReader& shard : shards) {
      if (shard.Fill()) {
        if (first == nullptr || before(shard.position(), first->position())) first = &shard;
      } else if (const auto& looked_up_to = shard.looked_up_to(); looked_up_to.has_value()) {
        if (end == nullptr || before(*looked_up_to, *end)) end = &*looked_up_to;
      }
    }
    if (first == nullptr || (end != nullptr && before(*end, first->position()))) {
      if (end != nullptr) page.looked_up_to = *end;
      return page;
    }
    page.jobs.push_back(first->Take());
    if (page.jobs.size() < query.limit) continue;
    page.looked_up_to = page.jobs.back().position;
    return page;
  }
}

JobTable::Count JobTable::CountOf(absl::string_view pool) const {
  Count count;
  for (const Shard& shard : shards_) {
    MutexLock lock(shard.mu);
    shard.index.CountFacets([&](const Facet& facet, size_t jobs) {
      if (facet.pool != pool) return;
      int64_t& of_state = facet.state == JobState::kScheduled ? count.scheduled
                          : facet.state == JobState::kQueued  ? count.queued
                                                              : count.running;
      of_state += static_cast<int64_t>(jobs);
    });
  }
  return count;
}

std::vector<std::shared_ptr<LiveJob>> JobTable::All() const {
  std::vector<std::shared_ptr<LiveJob>> all;
  for (const Shard& shard : shards_) {
    MutexLock lock(shard.mu);
    all.insert(all.end(), shard.jobs.begin(), shard.jobs.end());
  }
  return all;
}

void JobTable::Close(std::function<void()> on_empty) {
  {
    MutexLock lock(mu_);
    on_empty_ = std::move(on_empty);
  }
  for (Shard& shard : shards_) {
    MutexLock lock(shard.mu);
    shard.closed = true;
  }
  closed_.store(true);
  if (empty()) Announce();
}

// Close and the last calls of Erase may all see the empty table: the first one here
// takes the function.
void JobTable::Announce() {
  std::function<void()> on_empty;
  {
    MutexLock lock(mu_);
    on_empty.swap(on_empty_);
  }
  if (on_empty) on_empty();
}

}  // namespace jobpool
