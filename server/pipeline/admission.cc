#include "server/pipeline/admission.h"

#include <algorithm>
#include <array>
#include <functional>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "server/base/status_macros.h"
#include "server/job/errors.h"
#include "server/job/resource_name.h"

namespace jobpool {
namespace {

RejectReason RejectReasonOf(const absl::Status& refused) {
  static const auto* const reasons = new absl::flat_hash_map<std::string, RejectReason>{
      {"POOL_NOT_FOUND", RejectReason::kPoolNotFound},
      {"JOB_NOT_FOUND", RejectReason::kJobNotFound},
      {"JOB_EXISTS", RejectReason::kJobExists},
      {"REQUEST_ID_REUSED", RejectReason::kRequestIdReused},
      {"REQUEST_IDS_FULL", RejectReason::kRequestIdsFull},
      {"QUEUE_FULL", RejectReason::kQueueFull},
      {"RATE_REACHED", RejectReason::kRateReached},
      {"POOL_DRAINING", RejectReason::kPoolDraining},
      {"INVALID_FIELD", RejectReason::kInvalidField},
      {"PAYLOADS_FULL", RejectReason::kPayloadsFull},
      {"NO_DURABLE_STORE", RejectReason::kNoDurableStore},
      {"STORE_FULL", RejectReason::kStoreFull},
      {"SHUTTING_DOWN", RejectReason::kShuttingDown},
  };
  const auto found = reasons->find(ReasonOf(refused));
  return found != reasons->end() ? found->second : RejectReason::kStoreUnavailable;
}

std::string NoPath(size_t) { return ""; }
std::string BatchPath(size_t index) { return absl::StrCat("requests[", index, "]."); }

JobRecord MakeRecord(JobSpec spec, Durability durability, const Dispatcher& pool) {
  JobRecord record;
  record.id = std::move(spec.id);
  record.work = std::move(spec.work);
  record.pool = pool.name();
  record.daemon = spec.daemon;
  record.durability = durability;
  // The program of a command is a process of its own, which the thread that waits for it starts.
  record.isolation = KindOf(record.work) == Kind::kCommand ? Isolation::kThread : spec.isolation;
  record.priority = spec.priority;
  if (!(spec.options == JobOptions())) {
    record.options = std::make_shared<const JobOptions>(std::move(spec.options));
  }
  return record;
}

}  // namespace

void Admission::GoOnAfter(uint64_t last_number, absl::Time last_create_time) {
  last_number_.store(last_number);
  // Of that very millisecond there may be some.
  if (last_create_time != absl::InfinitePast()) ids_.Next(last_create_time + absl::Seconds(1));
}

absl::StatusOr<Submission> Admission::Submit(JobSpec spec, const std::shared_ptr<Waiter>& waiter) {
  Entries entries;
  absl::Status status = AddEntry(std::move(spec), entries);
  if (status.ok()) {
    entries.front().waiter = waiter;
    status = Accept(entries, NoPath);
  }
  if (!status.ok()) {
    metrics_.Rejected(RejectReasonOf(status));
    return status;
  }
  return SubmissionOf(entries, 0);
}

absl::StatusOr<std::vector<JobHandle>> Admission::SubmitAll(std::vector<JobSpec> specs) {
  Entries entries;
  absl::Status status;
  for (size_t i = 0; i < specs.size() && status.ok(); ++i) status = AddEntry(std::move(specs[i]), entries);
  if (status.ok()) status = Accept(entries, BatchPath);
  if (!status.ok()) {
    metrics_.Rejected(RejectReasonOf(status), specs.size());
    return status;
  }
  std::vector<JobHandle> jobs;
  for (size_t i = 0; i < entries.size(); ++i) jobs.push_back(SubmissionOf(entries, i).job);
  return jobs;
}

std::vector<absl::StatusOr<Submission>> Admission::SubmitEach(
    std::vector<JobSpec> specs, absl::Span<const std::shared_ptr<Waiter>> waiters, PathOf path) {
  std::vector<absl::StatusOr<Submission>> submissions(specs.size());
  Entries entries;
  entries.reserve(specs.size());
  std::vector<size_t> places;  // of the entries, in `specs`
  places.reserve(specs.size());
  for (size_t i = 0; i < specs.size(); ++i) {
    if (absl::Status added = AddEntry(std::move(specs[i]), entries); added.ok()) {
      entries.back().waiter = waiters[i];
      places.push_back(i);
    } else {
      metrics_.Rejected(RejectReasonOf(added));
      submissions[i] = std::move(added);
    }
  }
  if (entries.empty()) return submissions;
  // Together, which costs less, and one by one where something is in the way of that.
  if (HasRoom(entries) && Accept(entries, path).ok()) {
    for (size_t i = 0; i < entries.size(); ++i) submissions[places[i]] = SubmissionOf(entries, i);
    return submissions;
  }
  for (size_t i = 0; i < entries.size(); ++i) {
    Entries alone;
    alone.push_back(std::move(entries[i]));
    alone.front().first = 0;
    alone.front().made_before = JobHandle();
    if (absl::Status accepted = Accept(alone, [&](size_t) { return path(places[i]); }); accepted.ok()) {
      submissions[places[i]] = SubmissionOf(alone, 0);
    } else {
      metrics_.Rejected(RejectReasonOf(accepted));
      submissions[places[i]] = std::move(accepted);
    }
  }
  return submissions;
}

Submission Admission::SubmissionOf(const Entries& entries, size_t index) {
  const Entry& entry = entries[index];
  if (entry.added != nullptr) return {JobHandle{entry.added, nullptr}, false};
  const Entry& first = entries[entry.first];
  JobHandle made = first.added != nullptr ? JobHandle{first.added, nullptr} : first.made_before;
  if (entry.waiter != nullptr) made.Await(entry.waiter);
  return {std::move(made), true};
}

// Where that is not so, to try it would leave a slot for all of them with the full queue.
bool Admission::HasRoom(const Entries& entries) const {
  const std::vector<int64_t> places = CountPlaces(entries);
  const auto has_room = [&](const auto& pool) {
    const int64_t asked = places[pool->index()];
    return asked == 0 || (!pool->crowded() && pool->CheckRoom(asked).ok());
  };
  return std::all_of(pools_.all().begin(), pools_.all().end(), has_room);
}

absl::StatusOr<std::vector<JobRecord>> Admission::Validate(std::vector<JobSpec> specs, bool batch) {
  Entries entries;
  for (JobSpec& spec : specs) JOBPOOL_RETURN_IF_ERROR(AddEntry(std::move(spec), entries));
  {
    MutexLock lock(request_ids_.mu());
    JOBPOOL_RETURN_IF_ERROR(FindMadeBefore(entries));
  }
  JOBPOOL_RETURN_IF_ERROR(CheckDeadlines(entries, batch ? BatchPath : NoPath));
  JOBPOOL_RETURN_IF_ERROR(CheckStore(entries));
  const std::vector<int64_t> places = CountPlaces(entries);
  for (const auto& pool : pools_.all()) {
    JOBPOOL_RETURN_IF_ERROR(pool->CheckRoom(places[pool->index()]));
  }
  std::vector<std::string> ids;
  int64_t bytes = 0;
  for (size_t i = 0; i < entries.size(); ++i) {
    if (!entries[i].IsNew(i)) continue;
    ids.push_back(entries[i].record.id);
    bytes += LiveJob(entries[i].record).GivenBytes();
  }
  JOBPOOL_RETURN_IF_ERROR(table_.CheckInsert(ids, bytes, store_));
  std::vector<JobRecord> records;
  for (Entry& entry : entries) {
    records.push_back(entry.WasMade() ? entry.made_before.Snapshot().record : std::move(entry.record));
  }
  return records;
}

absl::StatusOr<std::optional<JobHandle>> Admission::FindMade(const RequestKey& request) {
  for (std::string before;;) {
    std::string id;
    {
      MutexLock lock(request_ids_.mu());
      JOBPOOL_ASSIGN_OR_RETURN(id, request_ids_.Find(request));
    }
    if (id.empty()) return std::nullopt;
    absl::StatusOr<JobHandle> made = reader_.Find(id);
    // One that the store has refused is forgotten before it goes.
    if (!absl::IsNotFound(made.status()) || id == before) return made;
    before = std::move(id);
  }
}

absl::Status Admission::AddEntry(JobSpec spec, Entries& entries) {
  if (spec.pool.empty()) spec.pool = PoolSet::DefaultPool(KindOf(spec.work));
  Dispatcher* const pool = pools_.Find(spec.pool);
  if (pool == nullptr) return PoolNotFoundError(PoolName(spec.pool));
  const bool can_keep = events_.writer() != nullptr;
  const Durability durability = spec.durability.value_or(can_keep ? Durability::kDisk : Durability::kMemory);
  if (durability == Durability::kDisk && !can_keep) return NoDurableStoreError();
  Entry entry;
  entry.pool = pool;
  entry.request = spec.request;
  entry.caller = std::move(spec.caller);
  entry.own_id = !spec.id.empty();
  entry.first = entries.size();
  entry.record = MakeRecord(std::move(spec), durability, *pool);
  entries.push_back(std::move(entry));
  return absl::OkStatus();
}

absl::Status Admission::Accept(Entries& entries, PathOf path) {
  if (std::none_of(entries.begin(), entries.end(), [](const Entry& entry) { return entry.request; })) {
    JOBPOOL_RETURN_IF_ERROR(Insert(entries, path));
  } else {
    // Most are found without the lock, since the store may take its time.
    for (Entry& entry : entries) {
      if (!entry.request) continue;
      JOBPOOL_ASSIGN_OR_RETURN(const std::optional<JobHandle> made, FindMade(*entry.request));
      if (made.has_value()) entry.made_before = *made;
    }
    MutexLock lock(request_ids_.mu());
    JOBPOOL_RETURN_IF_ERROR(FindMadeBefore(entries));
    JOBPOOL_RETURN_IF_ERROR(Insert(entries, path));
    for (const Entry& entry : entries) {
      if (entry.request && entry.added != nullptr) {
        request_ids_.Remember(*entry.request, entry.added->id());
      }
    }
  }
  Enqueue(entries);
  return absl::OkStatus();
}

absl::Status Admission::FindMadeBefore(Entries& entries) {
  absl::flat_hash_map<RequestId, size_t> together;
  for (size_t i = 0; i < entries.size(); ++i) {
    Entry& entry = entries[i];
    if (!entry.request || entry.WasMade()) continue;
    JOBPOOL_ASSIGN_OR_RETURN(const std::string id, request_ids_.Find(*entry.request));
    if (!id.empty()) {
      JOBPOOL_ASSIGN_OR_RETURN(entry.made_before, reader_.Find(id));
      continue;
    }
    entry.first = together.emplace(entry.request->id, i).first->second;
    if (!(entries[entry.first].request->payload == entry.request->payload)) {
      return RequestIdReusedError(absl::StrCat("requests[", entry.first, "]"));
    }
  }
  return request_ids_.CheckRoom(together.size());
}

std::vector<int64_t> Admission::CountPlaces(const Entries& entries) const {
  std::vector<int64_t> places(pools_.all().size());
  for (size_t i = 0; i < entries.size(); ++i) places[entries[i].pool->index()] += entries[i].IsNew(i);
  return places;
}

// Of requests that have not made their job before: those may come again when it has passed.
absl::Status Admission::CheckDeadlines(const Entries& entries, PathOf path) const {
  std::vector<FieldViolation> violations;
  for (size_t i = 0; i < entries.size(); ++i) {
    const absl::Time deadline = entries[i].record.Options().deadline_time;
    if (!entries[i].IsNew(i) || deadline == absl::InfiniteFuture() || deadline > clock_.Now()) continue;
    violations.push_back({path(i) + "job.deadline_time", "has passed"});
  }
  return violations.empty() ? absl::OkStatus() : InvalidFieldsError(violations);
}

absl::Status Admission::CheckStore(const Entries& entries) const {
  for (size_t i = 0; i < entries.size(); ++i) {
    if (!entries[i].IsNew(i) || entries[i].record.durability != Durability::kDisk) continue;
    const StoreWriter& writer = *events_.writer();
    const absl::Status health = writer.health();
    return health.ok() ? writer.CheckFull() : StoreUnavailableError(health);
  }
  return absl::OkStatus();
}

void Admission::AwaitKept(std::vector<JobHandle> jobs, StoreWriter::Done done) {
  const auto in_memory = [](const JobHandle& job) {
    return job.live == nullptr || job.live->durability() != Durability::kDisk;
  };
  jobs.erase(std::remove_if(jobs.begin(), jobs.end(), in_memory), jobs.end());
  if (jobs.empty()) {
    done(absl::OkStatus());
    return;
  }
  // Where the flush fails for what came after them they are kept all the same.
  const StoreWriter& writer = *events_.writer();
  events_.writer()->Flush(
      [jobs = std::move(jobs), done = std::move(done), &writer](const absl::Status& flushed) {
        const bool kept = std::all_of(jobs.begin(), jobs.end(), [](const JobHandle& job) {
          return job.live->keeping() == LiveJob::Keeping::kKept;
        });
        done(kept ? absl::OkStatus() : StoreUnavailableError(flushed.ok() ? writer.last_refusal() : flushed));
      });
}

// Whom they have refused is told so by those who wait for them.
void Admission::FinishKeeping(const std::vector<std::shared_ptr<LiveJob>>& jobs,
                              const std::vector<RequestId>& requests, const absl::Status& status) {
  for (const auto& job : jobs) {
    job->SetKeeping(status.ok() ? LiveJob::Keeping::kKept : LiveJob::Keeping::kRefused);
  }
  if (status.ok()) return;
  {
    MutexLock lock(request_ids_.mu());
    for (const RequestId& request : requests) request_ids_.Forget(request);
  }
  metrics_.Rejected(RejectReason::kStoreUnavailable, jobs.size());
  for (const auto& job : jobs) pools_.Find(job->pool())->Stop(job, CancelReason::kNotKept);
}

// Places in the pools, and in the kinds' rates: all or none.
absl::Status Admission::Reserve(const Entries& entries) {
  if (entries.size() == 1) {  // without counting
    // The kind first: who has waited for a place in the pool uses that when nothing else is in the way.
    const Entry& entry = entries.front();
    JOBPOOL_RETURN_IF_ERROR(kinds_.TrySubmit(entry.kind(), 1));
    absl::Status status = entry.pool->Reserve(1, entry.caller);
    if (!status.ok()) kinds_.TakeBack(entry.kind(), 1);
    return status;
  }
  const std::vector<int64_t> places = CountPlaces(entries);
  const std::array<int64_t, kKindCount> of_kind = CountKinds(entries);
  const auto& pools = pools_.all();
  absl::Status status;
  size_t reserved = 0;
  for (; reserved < pools.size() && status.ok(); ++reserved) {
    status = pools[reserved]->Reserve(places[pools[reserved]->index()], entries.front().caller);
  }
  if (!status.ok()) --reserved;
  size_t kinds = 0;
  for (; kinds < kKindCount && status.ok(); ++kinds) {
    status = kinds_.TrySubmit(static_cast<Kind>(kinds), of_kind[kinds]);
  }
  if (status.ok()) return status;
  for (size_t i = 0; i + 1 < kinds; ++i) kinds_.TakeBack(static_cast<Kind>(i), of_kind[i]);
  for (size_t i = 0; i < reserved; ++i) pools[i]->TakeBack(places[pools[i]->index()]);
  return status;
}

void Admission::Release(const Entries& entries) {
  for (size_t i = 0; i < entries.size(); ++i) {
    if (!entries[i].IsNew(i)) continue;
    entries[i].pool->TakeBack(1);
    kinds_.TakeBack(entries[i].kind(), 1);
  }
}

std::array<int64_t, kKindCount> Admission::CountKinds(const Entries& entries) {
  std::array<int64_t, kKindCount> count{};
  for (size_t i = 0; i < entries.size(); ++i) {
    count[static_cast<size_t>(entries[i].kind())] += entries[i].IsNew(i);
  }
  return count;
}

absl::Status Admission::Insert(Entries& entries, PathOf path) {
  if (entries.size() == 1 && !entries.front().IsNew(0)) return absl::OkStatus();
  JOBPOOL_RETURN_IF_ERROR(CheckDeadlines(entries, path));
  JOBPOOL_RETURN_IF_ERROR(CheckStore(entries));
  JOBPOOL_RETURN_IF_ERROR(Reserve(entries));
  absl::Status inserted = InsertReserved(entries);
  if (!inserted.ok()) Release(entries);
  return inserted;
}

absl::Status Admission::InsertReserved(Entries& entries) {
  absl::InlinedVector<std::shared_ptr<LiveJob>, 1> jobs;
  absl::InlinedVector<Entry*, 1> added;
  const auto make = [&](const Entry& entry, uint64_t number) {
    JobRecord made = entry.record;
    made.number = number;
    made.create_time = clock_.Now();
    const absl::Time schedule_time = made.Options().schedule_time;
    if (schedule_time > made.create_time) {
      made.state = JobState::kScheduled;
      auto options = std::make_shared<JobOptions>(made.Options());
      options->ready_time = schedule_time;
      made.options = std::move(options);
    }
    if (!entry.own_id) made.id = ids_.Next(made.create_time);
    auto job = std::make_shared<LiveJob>(std::move(made));
    if (entry.waiter != nullptr) job->AddWaiter(entry.waiter);
    return job;
  };
  for (size_t i = 0; i < entries.size(); ++i) {
    if (!entries[i].IsNew(i)) continue;
    added.push_back(&entries[i]);
    jobs.push_back(make(entries[i], last_number_.fetch_add(1, std::memory_order_relaxed) + 1));
  }
  std::vector<JobWrite> writes;
  std::vector<std::shared_ptr<LiveJob>> kept;
  std::vector<RequestId> requests;
  const auto tell = [&] {
    for (const auto& job : jobs) job->TellCreated(events_);
    if (kept.empty()) return;
    events_.writer()->Create(std::move(writes),
                             [this, kept = std::move(kept), requests = std::move(requests)](
                                 const absl::Status& status) { FinishKeeping(kept, requests, status); });
  };
  // An id that we make is greater than that of any job before.
  const JobTable::Lookup lookup{store_, [&](size_t i) { return added[i]->own_id; }};
  for (;;) {
    writes.clear();
    kept.clear();
    requests.clear();
    for (size_t i = 0; i < jobs.size(); ++i) {
      if (added[i]->record.durability != Durability::kDisk) continue;
      writes.push_back({std::make_shared<const JobRecord>(jobs[i]->Snapshot().record), added[i]->request});
      kept.push_back(jobs[i]);
      if (added[i]->request.has_value()) requests.push_back(added[i]->request->id);
    }
    size_t taken = 0;
    absl::Status inserted = table_.Insert(jobs, &lookup, &taken, tell);
    if (inserted.ok()) break;
    // An id that we made can be taken: another is made.
    if (!absl::IsAlreadyExists(inserted) || added[taken]->own_id) return inserted;
    jobs[taken] = make(*added[taken], jobs[taken]->Snapshot().record.number);
  }
  for (size_t i = 0; i < added.size(); ++i) added[i]->added = std::move(jobs[i]);
  return absl::OkStatus();
}

// Those of a pool together, which costs less.
void Admission::Enqueue(const Entries& entries) {
  std::vector<std::vector<std::shared_ptr<LiveJob>>> of_pools(entries.size() > 1 ? pools_.all().size() : 0);
  for (const Entry& entry : entries) {
    if (entry.added == nullptr) continue;
    metrics_.Submitted(static_cast<size_t>(entry.added->kind()), entry.pool->index());
    const bool scheduled = entry.record.Options().schedule_time > entry.added->create_time();
    if (of_pools.empty() || scheduled) {
      entry.pool->Accept(entry.added, scheduled ? JobState::kScheduled : JobState::kQueued);
    } else {
      of_pools[entry.pool->index()].push_back(entry.added);
    }
  }
  if (of_pools.empty()) return;
  for (const auto& pool : pools_.all()) pool->AcceptQueued(of_pools[pool->index()]);
}

}  // namespace jobpool
