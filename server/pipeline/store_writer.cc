#include "server/pipeline/store_writer.h"

#include <algorithm>
#include <limits>

#include <spdlog/spdlog.h>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "server/base/clock.h"
#include "server/base/status_copy.h"
#include "server/job/errors.h"
#include "server/telemetry/log.h"

namespace jobpool {
namespace {

// In one commit: more would not make it faster, and others wait for it.
constexpr size_t kMaxBatch = 10'000;
constexpr size_t kMaxBatchBytes = 16 << 20;
// Each is a commit of its own.
constexpr size_t kDeletesAtOnce = 16;
// Between two tries while the store refuses.
constexpr absl::Duration kPause = absl::Milliseconds(250);
// So few that a commit waits for their deletion no longer than 10 ms.
constexpr size_t kDeletedAtOnce = 200;

}  // namespace

StoreWriter::StoreWriter(JobStore& store, ThreadRegistry& registry, StoreMetrics& metrics,
                         absl::Duration max_commit_time)
    : store_(store),
      registry_(registry),
      metrics_(metrics),
      max_commit_time_(max_commit_time),
      max_bytes_(std::numeric_limits<int64_t>::max()),
      max_batch_(kMaxBatch),
      committer_([this] { CommitAll(); }),
      caller_([this] { CallBackAll(); }) {
  MutexLock lock(mu_);
  while (registered_ < 2) added_.Wait(mu_);
}

StoreWriter::~StoreWriter() { Stop(); }

absl::Status StoreWriter::health() const {
  MutexLock lock(mu_);
  return CopyForThread(health_);
}

absl::Status StoreWriter::last_refusal() const {
  MutexLock lock(mu_);
  return CopyForThread(last_refusal_);
}

void StoreWriter::set_on_health(std::function<void()> on_health) {
  MutexLock lock(mu_);
  on_health_ = std::move(on_health);
}

absl::Status StoreWriter::CheckFull() const {
  const int64_t max_bytes = max_bytes_.load();
  return store_.UsedBytes() < max_bytes ? absl::OkStatus() : StoreFullError(max_bytes);
}

void StoreWriter::CheckHealth() {
  {
    MutexLock lock(mu_);
    if (!commit_start_.has_value() || Clock::Real().Monotonic() < Later(*commit_start_, max_commit_time_))
      return;
  }
  // Should it be done just now, the next look at the store mends that.
  SetHealth(absl::UnavailableError(
      absl::StrCat("a commit takes more than ", absl::FormatDuration(max_commit_time_))));
}

void StoreWriter::Create(std::vector<JobWrite> jobs, Done done) {
  MutexLock lock(mu_);
  for (JobWrite& job : jobs) Add({Type::kCreate, true, std::move(job), nullptr});
  if (jobs.empty()) return;
  pending_.back().more_follow = false;
  pending_.back().done = std::move(done);
}

void StoreWriter::Change(std::shared_ptr<const JobRecord> job) {
  MutexLock lock(mu_);
  if (refused_.contains(job->number)) return;
  Add({Type::kChange, false, {std::move(job)}, nullptr});
}

void StoreWriter::End(EndedJob job, Done done) {
  MutexLock lock(mu_);
  Add({Type::kEnd, false, {std::move(job)}, std::move(done)});
}

void StoreWriter::Flush(Done done) {
  MutexLock lock(mu_);
  Add({Type::kFlush, false, {}, std::move(done)});
}

void StoreWriter::Delete(std::string id, Deleted done) {
  MutexLock lock(mu_);
  if (!HasWork()) added_.NotifyAll();
  deletes_.emplace_back(std::move(id), std::move(done));
  if (!health_.ok()) RefuseDeletes(health_);
}

void StoreWriter::Add(Write write) {
  if (!HasWork()) added_.NotifyAll();
  pending_bytes_ += BytesOf(write);
  pending_.push_back(std::move(write));
}

void StoreWriter::AwaitRoom() {
  MutexLock lock(mu_);
  while (!HasRoom() && !released_) room_.Wait(mu_);
}

void StoreWriter::Release() {
  MutexLock lock(mu_);
  released_ = true;
  room_.NotifyAll();
}

void StoreWriter::Stop() {
  {
    MutexLock lock(mu_);
    stopping_ = true;
    added_.NotifyAll();
  }
  if (committer_.joinable()) committer_.join();
  if (caller_.joinable()) caller_.join();
}

void StoreWriter::CommitAll() {
  RegisteredThread thread(registry_, ThreadRole::kService, "");
  {
    MutexLock lock(mu_);
    ++registered_;
    added_.NotifyAll();
  }
  for (;;) {
    {
      MutexLock lock(mu_);
      // A store that refuses is asked now and then whether it still does.
      const MonotonicTime again = Later(Clock::Real().Monotonic(), kPause);
      while (!stopping_ && (health_.ok() ? !HasWork() : Clock::Real().Monotonic() < again)) {
        if (health_.ok()) {
          added_.Wait(mu_);
        } else {
          added_.WaitUntil(mu_, again);
        }
      }
      if (stopping_ && pending_.empty() && deletes_.empty()) break;
    }
    thread.SetRunning(true);
    CommitSome();
    const bool healthy = health().ok();
    if (healthy) {
      DeleteSome();
      DeleteSomeExpired();
    }
    thread.SetRunning(false);
    MutexLock lock(mu_);
    if (stopping_ && !healthy) break;
  }
  MutexLock lock(mu_);
  RefuseDeletes(absl::UnavailableError("the server shuts down"));
  for (Write& write : pending_) {
    if (write.done != nullptr && write.type == Type::kFlush) {
      told_.emplace_back(std::move(write.done), CopyForThread(health_));
    }
  }
  committed_all_ = true;
  told_changed_.NotifyAll();
}

void StoreWriter::DeleteExpired(absl::Time now) {
  MutexLock lock(mu_);
  if (!HasWork()) added_.NotifyAll();
  expired_by_ = now;
}

void StoreWriter::DeleteSome() {
  for (size_t i = 0; i < kDeletesAtOnce; ++i) {
    std::pair<std::string, Deleted> next;
    {
      MutexLock lock(mu_);
      if (deletes_.empty()) return;
      next = std::move(deletes_.front());
      deletes_.pop_front();
    }
    BeginCommit();
    absl::StatusOr<bool> deleted = store_.Delete(next.first);
    EndCommit();
    MutexLock lock(mu_);
    told_.emplace_back(
        [done = std::move(next.second), deleted = std::move(deleted)](const absl::Status&) { done(deleted); },
        absl::OkStatus());
    told_changed_.NotifyAll();
  }
}

void StoreWriter::RefuseDeletes(const absl::Status& status) {
  for (auto& [id, done] : deletes_) {
    told_.emplace_back([done = std::move(done)](const absl::Status& refused) { done(refused); },
                       CopyForThread(status));
  }
  deletes_.clear();
  told_changed_.NotifyAll();
}

void StoreWriter::BeginCommit() {
  MutexLock lock(mu_);
  commit_start_ = Clock::Real().Monotonic();
}

void StoreWriter::EndCommit() {
  MutexLock lock(mu_);
  commit_start_.reset();
}

void StoreWriter::DeleteSomeExpired() {
  std::optional<absl::Time> now;
  {
    MutexLock lock(mu_);
    now = expired_by_;
  }
  if (!now.has_value()) return;
  BeginCommit();
  const absl::StatusOr<size_t> deleted = store_.DeleteExpired(*now, kDeletedAtOnce);
  EndCommit();
  if (!deleted.ok()) {
    Log().error("expired jobs not deleted error=\"{}\"", std::string(deleted.status().message()));
  } else if (*deleted == kDeletedAtOnce) {
    return;  // there are more
  } else if (const absl::Status given = store_.GiveBackSpace(); !given.ok()) {
    Log().error("space not given back error=\"{}\"", std::string(given.message()));
  }
  MutexLock lock(mu_);
  if (expired_by_ == now) expired_by_.reset();
}

StoreWriter::Writes StoreWriter::TakeBatch() {
  MutexLock lock(mu_);
  Writes batch;
  size_t bytes = 0;
  while (!pending_.empty() &&
         ((batch.size() < max_batch_ && bytes < kMaxBatchBytes) || batch.back().more_follow)) {
    bytes += BytesOf(pending_.front());
    batch.push_back(std::move(pending_.front()));
    pending_.pop_front();
  }
  pending_bytes_ -= bytes;
  return batch;
}

// Where one of them is at fault it is found by halves, and the others are kept.
void StoreWriter::CommitSome() {
  Writes batch = TakeBatch();
  const absl::Status status = CommitBatch(batch);
  const bool one_at_fault = absl::IsAlreadyExists(status);
  if (one_at_fault && !IsOne(batch)) {
    max_batch_ = std::max<size_t>(std::min(max_batch_, batch.size()) / 2, 1);
    MutexLock lock(mu_);
    PutBack(std::move(batch));
    return;
  }
  if (one_at_fault) {
    Log().error("write refused job=jobs/{} error=\"{}\"", batch.front().write.job->id,
                std::string(status.message()));
  }
  // On a disk that is nearly full there may be room for fewer.
  max_batch_ =
      status.ok() || one_at_fault ? std::min(2 * max_batch_, kMaxBatch) : std::max<size_t>(max_batch_ / 2, 1);
  SetHealth(one_at_fault ? absl::OkStatus() : status);  // before anybody is told of a refusal
  Sort(std::move(batch), status);
}

bool StoreWriter::IsOne(const Writes& batch) {
  return std::all_of(batch.begin(), batch.end() - 1, [](const Write& write) { return write.more_follow; });
}

void StoreWriter::PutBack(Writes writes) {
  while (!writes.empty()) {
    pending_bytes_ += BytesOf(writes.back());
    pending_.push_front(std::move(writes.back()));
    writes.pop_back();
  }
}

absl::Status StoreWriter::CommitBatch(const Writes& batch) {
  std::vector<JobWrite> writes;
  bool refuses = false;
  {
    MutexLock lock(mu_);
    refuses = !health_.ok();
    for (const Write& write : batch) {
      if (write.type == Type::kFlush || refused_.contains(write.write.job->number)) continue;
      writes.push_back(write.write);
    }
  }
  const MonotonicTime start = Clock::Real().Monotonic();
  BeginCommit();
  const absl::Status status = !writes.empty() ? store_.Commit(writes)
                              : refuses       ? store_.CheckWritable()
                                              : absl::OkStatus();
  EndCommit();
  if (!status.ok()) {
    metrics_.Failed();
  } else if (!writes.empty()) {
    metrics_.Committed(writes.size(), absl::FromChrono(Clock::Real().Monotonic() - start));
  }
  return status;
}

void StoreWriter::Sort(Writes batch, const absl::Status& status) {
  MutexLock lock(mu_);
  if (!status.ok()) {
    last_refusal_ = CopyForThread(status);
    for (const Write& write : batch) {
      if (write.type == Type::kCreate) refused_.insert(write.write.job->number);
    }
  }
  Writes again;
  const bool try_again = !status.ok() && !absl::IsAlreadyExists(status);
  for (Write& write : batch) {
    const bool refused = write.type != Type::kFlush && refused_.contains(write.write.job->number);
    switch (write.type) {
      case Type::kCreate:
        if (write.done != nullptr) told_.emplace_back(std::move(write.done), CopyForThread(status));
        break;
      case Type::kChange:
        if (try_again && !refused) again.push_back(std::move(write));
        break;
      case Type::kEnd:
        if (refused) {
          refused_.erase(write.write.job->number);
          told_.emplace_back(std::move(write.done), absl::UnavailableError("the job was not stored"));
        } else if (try_again) {
          again.push_back(std::move(write));
        } else {
          told_.emplace_back(std::move(write.done), CopyForThread(status));
        }
        break;
      case Type::kFlush:
        told_.emplace_back(std::move(write.done), CopyForThread(status));
        break;
    }
  }
  PutBack(std::move(again));
  if (try_again) DropOutdated();
  if (!told_.empty()) told_changed_.NotifyAll();
  if (HasRoom()) room_.NotifyAll();
}

void StoreWriter::DropOutdated() {
  absl::flat_hash_map<uint64_t, Write*> first_of_job;
  Writes kept;
  for (Write& write : pending_) {
    if (write.type == Type::kChange || write.type == Type::kEnd) {
      Write*& first = first_of_job[write.write.job->number];
      if (first != nullptr) {
        pending_bytes_ -= BytesOf(*first);
        *first = std::move(write);
        continue;
      }
      first = &kept.emplace_back(std::move(write));  // stays there as others are added
    } else {
      kept.push_back(std::move(write));
    }
  }
  pending_.swap(kept);
}

void StoreWriter::SetHealth(const absl::Status& status) {
  std::function<void()> on_health;
  {
    MutexLock lock(mu_);
    if (health_ == status) return;
    const bool known = !health_.ok() && !status.ok();  // another reason
    health_ = CopyForThread(status);
    if (!status.ok()) RefuseDeletes(status);
    if (known) return;
    metrics_.SetWritable(status.ok());
    on_health = on_health_;
  }
  if (status.ok()) {
    Log().info("the store can be written again");
  } else {
    Log().error("the store cannot be written error=\"{}\"", std::string(status.message()));
  }
  if (on_health) on_health();
}

void StoreWriter::CallBackAll() {
  RegisteredThread thread(registry_, ThreadRole::kService, "");
  {
    MutexLock lock(mu_);
    ++registered_;
    added_.NotifyAll();
  }
  for (;;) {
    std::deque<std::pair<Done, absl::Status>> told;
    {
      MutexLock lock(mu_);
      while (told_.empty() && !committed_all_) told_changed_.Wait(mu_);
      if (told_.empty()) return;
      told.swap(told_);
      if (HasRoom()) room_.NotifyAll();
    }
    thread.SetRunning(true);
    for (auto& [done, status] : told) {
      done(status);
      done = nullptr;  // what it holds goes now
    }
    thread.SetRunning(false);
  }
}

}  // namespace jobpool
