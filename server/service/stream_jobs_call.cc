#include "server/service/stream_jobs_call.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/base/status_macros.h"
#include "server/job/bounds.h"
#include "server/job/errors.h"
#include "server/service/job_codec.h"
#include "server/service/status_codec.h"
#include "server/service/submission.h"

namespace jobpool {
namespace {

using Entry = v1::StreamJobsResponse::Entry;

// What an entry holds in memory on its way, about: its place here, the wait for its job, the
// job's record, which the store may have forgotten, or its answer.
constexpr int64_t kJobBytes = 1 << 10;

// Messages of so many entries, and bytes, are submitted on gRPC's thread: that takes a tenth of a millisecond
// at most, and a hop to a SERVICE thread would cost those of one entry as much as all the rest.
constexpr int kInlineEntries = 32;
constexpr size_t kInlineBytes = 64 << 10;

// So that few blocks hold a whole message.
google::protobuf::ArenaOptions ArenaBlocks() {
  google::protobuf::ArenaOptions options;
  options.start_block_size = 1 << 10;
  options.max_block_size = 64 << 10;
  return options;
}

}  // namespace

/// An entry whose job has not ended; held by its job, and by the call until then.
struct StreamJobsCall::Slot final : Waiter {
  Slot(std::shared_ptr<StreamJobsCall> in, uint64_t of_tag, int64_t given_bytes, bool detach)
      : call(std::move(in)), tag(of_tag), bytes(given_bytes), owns_job(!detach) {}

  void OnJobEnd(const EndedJob& ended) override;
  void OnJobLeft() override { call->Tell(*this, Refusal(tag, bytes, ShuttingDownError())); }

  // Constant after construction.
  const std::shared_ptr<StreamJobsCall> call;
  const uint64_t tag;
  const int64_t bytes;  // that were given for the job

  // Guarded by the call's lock.
  bool owns_job;  // whose end it asks for when the caller goes
  bool told = false;
  size_t index = 0;              // in slots_
  std::shared_ptr<LiveJob> job;  // null: it has not been said to be accepted
};

absl::Status StreamJobsCalls::Add(const std::shared_ptr<StreamJobsCall>& call) {
  MutexLock lock(mu_);
  if (shut_down_) return ShuttingDownError();
  calls_.insert(call);
  return absl::OkStatus();
}

void StreamJobsCalls::Remove(const std::shared_ptr<StreamJobsCall>& call) {
  MutexLock lock(mu_);
  calls_.erase(call);
}

void StreamJobsCalls::Shutdown() {
  absl::flat_hash_set<std::shared_ptr<StreamJobsCall>> calls;
  {
    MutexLock lock(mu_);
    shut_down_ = true;
    calls.swap(calls_);
  }
  for (const auto& call : calls) call->End(ShuttingDownError());
}

StreamJobsCall::StreamJobsCall(Pipeline& pipeline, const CallResources& resources, const CallCount& count,
                               StreamJobsCalls& calls, uint64_t connection)
    : OpenCall(count, resources.memory),
      pipeline_(pipeline),
      pool_(resources.pool),
      calls_(calls),
      connection_(connection),
      request_arena_(ArenaBlocks()),
      request_(google::protobuf::Arena::CreateMessage<v1::StreamJobsRequest>(&request_arena_)),
      response_arena_(ArenaBlocks()) {}

grpc::ServerBidiReactor<v1::StreamJobsRequest, v1::StreamJobsResponse>* StreamJobsCall::Start(
    Pipeline& pipeline, const CallResources& resources, const CallCount& count, StreamJobsCalls& calls,
    uint64_t connection) {
  const std::shared_ptr<StreamJobsCall> call(
      new StreamJobsCall(pipeline, resources, count, calls, connection));
  call->Share();
  absl::Status status = calls.Add(call);
  if (status.ok()) status = call->HoldOpen();
  if (status.ok()) {
    MutexLock lock(call->mu_);
    call->ReadNext();
  } else {
    call->FinishOnce(status);
  }
  return call.get();
}

void StreamJobsCall::ReadNext() {
  if (Over() || reading_ || half_closed_ || end_.has_value()) return;
  if (open_jobs_ >= kMaxStreamJobs || open_bytes_ >= kMaxStreamBytes) return;
  reading_ = true;
  StartRead(request_);
}

void StreamJobsCall::OnReadDone(bool ok) {
  if (!ok) {  // the caller has no more to say, or has gone, which OnCancel tells
    {
      MutexLock lock(mu_);
      reading_ = false;
      half_closed_ = true;
    }
    GoOn();
    return;
  }
  const int count = request_->entries_size();
  if (count < 1 || count > kMaxStreamEntries) {
    pipeline_.metrics().Rejected(RejectReason::kInvalidField, static_cast<size_t>(count));
    ForgetRequest();
    End(InvalidFieldsError(
        {{"entries", absl::StrCat("must be 1 to ", kMaxStreamEntries, " entries, are ", count)}}));
    return;
  }
  const auto& entries = request_->entries();
  const bool named = std::any_of(entries.begin(), entries.end(), [](const auto& entry) {
    return !entry.request().job_id().empty() || !entry.request().request_id().empty();
  });
  const size_t size = request_->ByteSizeLong();
  const bool pooled = named || count > kInlineEntries || size > kInlineBytes;
  // Until it has a thread it is held beside what becomes of it. Its strings are not in the arena.
  const size_t waiting = pooled ? request_arena_.SpaceAllocated() + size : 0;
  absl::Status status;
  {
    MutexLock lock(mu_);
    status = held_.Take(count * kJobBytes + static_cast<int64_t>(waiting));
  }
  if (status.ok() && !pooled) {
    Submit();
  } else if (status.ok() && !pool_.Run([call = shared_from_this(), waiting] {
               call->Submit();
               MutexLock lock(call->mu_);
               call->held_.GiveBack(static_cast<int64_t>(waiting));
             })) {
    Refuse(TooManyCallsError("calls wait for a thread", pool_.max_tasks()), static_cast<int64_t>(waiting));
  }
  if (!status.ok()) End(status);
}

void StreamJobsCall::Refuse(const absl::Status& status, int64_t held) {
  std::vector<Answer> refused;
  for (const v1::StreamJobsRequest::Entry& entry : request_->entries()) {
    refused.push_back(Refusal(entry.tag(), 0, status));
  }
  ForgetRequest();
  {
    MutexLock lock(mu_);
    held_.GiveBack(held);
    open_jobs_ += static_cast<int64_t>(refused.size());
    for (Answer& answer : refused) ended_.push_back(std::move(answer));
    reading_ = false;
    ReadNext();
  }
  GoOn();
}

absl::StatusOr<JobSpec> StreamJobsCall::Decode(int index, absl::Time now) {
  const v1::SubmitJobRequest& request = request_->entries(index).request();
  JobSpec spec;
  const auto decode = [&](absl::string_view prefix) {
    Violations violations;
    spec = DecodeSubmission(request, prefix, now, violations);
    CheckOffered(pipeline_, spec, prefix, violations);
    if (request.validate_only()) {
      violations.Add(absl::StrCat(prefix, "validate_only"), "must be left out in a stream");
    }
    return violations.ToStatus();
  };
  // Where it stands is only said where something is wrong.
  if (!decode("").ok()) {
    pipeline_.metrics().Rejected(RejectReason::kInvalidField);
    return decode(absl::StrCat("entries[", index, "].request."));
  }
  SetCaller([connection = connection_] { return connection; }, spec);
  return spec;
}

void StreamJobsCall::Submit() {
  std::vector<JobSpec> specs;
  std::vector<std::shared_ptr<Waiter>> waiters;
  std::vector<std::shared_ptr<Slot>> slots;
  std::vector<int> places;  // of the specs, in the message
  std::vector<Answer> refused;
  const int count = request_->entries_size();
  specs.reserve(static_cast<size_t>(count));
  waiters.reserve(static_cast<size_t>(count));
  slots.reserve(static_cast<size_t>(count));
  places.reserve(static_cast<size_t>(count));
  const absl::Time now = pipeline_.clock().Now();
  int64_t bytes = 0;
  for (int i = 0; i < count; ++i) {
    const v1::StreamJobsRequest::Entry& entry = request_->entries(i);
    absl::StatusOr<JobSpec> spec = Decode(i, now);
    if (!spec.ok()) {
      refused.push_back(Refusal(entry.tag(), 0, spec.status()));
      continue;
    }
    const auto given = static_cast<int64_t>(HeapBytes(spec->work));
    slots.push_back(std::make_shared<Slot>(shared_from_this(), entry.tag(), given, entry.detach()));
    waiters.push_back(slots.back());
    specs.push_back(*std::move(spec));
    places.push_back(i);
    bytes += given;
  }
  ForgetRequest();
  {
    MutexLock lock(mu_);
    if (Over()) return;
    open_jobs_ += count;
    open_bytes_ += bytes;
    for (Answer& answer : refused) ended_.push_back(std::move(answer));
    for (const std::shared_ptr<Slot>& slot : slots) {
      slot->index = slots_.size();
      slots_.push_back(slot);
    }
  }
  // From here on jobs can end.
  const std::vector<absl::StatusOr<Submission>> submissions = pipeline_.admission().SubmitEach(
      std::move(specs), waiters, [&](size_t i) { return absl::StrCat("entries[", places[i], "].request."); });
  for (size_t i = 0; i < slots.size(); ++i) {
    if (submissions[i].ok()) continue;
    Tell(*slots[i], Refusal(slots[i]->tag, slots[i]->bytes, submissions[i].status()));
  }
  std::vector<Left> left;
  {
    MutexLock lock(mu_);
    for (size_t i = 0; i < slots.size(); ++i) {
      Slot& slot = *slots[i];
      if (slot.told || !submissions[i].ok()) continue;
      slot.job = submissions[i]->job.live;
      slot.owns_job = slot.owns_job && !submissions[i]->duplicate;
      if (finished_ && slot.job != nullptr) left.push_back({slot.job, slots[i], slot.owns_job});
    }
    reading_ = false;
    ReadNext();
  }
  Abandon(std::move(left));
  GoOn();
}

void StreamJobsCall::ForgetRequest() {
  request_arena_.Reset();
  request_ = google::protobuf::Arena::CreateMessage<v1::StreamJobsRequest>(&request_arena_);
}

StreamJobsCall::Answer StreamJobsCall::Refusal(uint64_t tag, int64_t bytes, const absl::Status& status) {
  auto said = std::make_unique<Entry>();
  *said->mutable_error() = EncodeStatus(status);
  return {tag, nullptr, std::move(said), bytes, 0};
}

void StreamJobsCall::Slot::OnJobEnd(const EndedJob& ended) {
  if (ReasonOf(ended->outcome->error) == "STORE_UNAVAILABLE") {  // that it was accepted was never said
    call->Tell(*this, Refusal(tag, bytes, StoreUnavailableError(ended->outcome->error)));
  } else {
    call->Tell(*this, {tag, ended, nullptr, bytes, 0});
  }
}

void StreamJobsCall::Tell(Slot& slot, Answer answer) {
  // It is held until its caller has read it, and so is what gRPC makes of it.
  const auto large = answer.job != nullptr ? static_cast<int64_t>(answer.job->Bytes()) : 0;
  if (large > kJobBytes) {
    answer.bytes = large;
    answer.held = 2 * large;
  }
  std::shared_ptr<Slot> removed;  // let go of after the lock
  {
    MutexLock lock(mu_);
    if (Over()) return;
    slot.told = true;
    if (answer.held > 0 && !held_.Take(answer.held).ok()) {
      answer.said = std::make_unique<Entry>();
      EncodeJob(*answer.job, std::nullopt, JobView::kBrief, answer.said->mutable_job());
      answer = {answer.tag, nullptr, std::move(answer.said), slot.bytes, 0};
    }
    open_bytes_ += answer.bytes - slot.bytes;
    std::swap(removed, slots_[slot.index]);
    std::swap(slots_[slot.index], slots_.back());
    slots_.pop_back();
    if (slot.index < slots_.size()) slots_[slot.index]->index = slot.index;
    ended_.push_back(std::move(answer));
    if (writing_) return;
  }
  GoOn();
}

void StreamJobsCall::End(const absl::Status& error) {
  {
    MutexLock lock(mu_);
    if (!end_.has_value()) end_ = error;
  }
  GoOn();
}

void StreamJobsCall::OnCancel() {
  {
    MutexLock lock(mu_);
    broken_ = true;
  }
  GoOn();
}

void StreamJobsCall::GoOn() {
  absl::Status status;
  std::vector<Left> left;
  bool write = false;
  {
    MutexLock lock(mu_);
    if (finished_ || writing_) return;
    if (!broken_ && !ended_.empty()) {
      writing_ = write = true;
      sending_.swap(ended_);
    } else if (broken_) {
      status = CallCancelledError();
    } else if (end_.has_value()) {
      status = *end_;
    } else if (!half_closed_ || open_jobs_ > 0) {
      return;
    }
    if (!write) {
      ClaimFinish();
      for (const std::shared_ptr<Slot>& slot : slots_) {
        // Those that are being submitted are left when they are.
        if (slot->job != nullptr) left.push_back({slot->job, slot, slot->owns_job});
      }
      slots_.clear();
    }
  }
  if (write) {
    Write();
    return;
  }
  FinishWith(status);
  Abandon(std::move(left));
}

void StreamJobsCall::Write() {
  auto* const response = google::protobuf::Arena::CreateMessage<v1::StreamJobsResponse>(&response_arena_);
  size_t bytes = 0;
  written_ = sent_;
  while (sent_ < sending_.size() && response->entries_size() < kMaxStreamEntries) {
    Answer& answer = sending_[sent_];
    Entry* const entry = response->add_entries();
    // The estimate is at hand, and enough for what is small.
    size_t size = 0;
    if (answer.said != nullptr) {
      *entry = *answer.said;
      size = entry->ByteSizeLong();
    } else {
      EncodeJob(*answer.job, answer.job->outcome->progress, JobView::kFull, entry->mutable_job());
      // A payload that comes back is held once and told twice; errors, also of attempts, are not counted.
      const size_t bytes_held = answer.job->Bytes();
      const bool plain = bytes_held <= static_cast<size_t>(CallMemory::kSmallMessageBytes) &&
                         answer.job->attempts.size() <= 1 && answer.job->outcome->error.ok();
      size = plain ? 2 * bytes_held : entry->ByteSizeLong();
    }
    entry->set_tag(answer.tag);
    bytes += size + 8;  // 8: more than its tag and length
    if (bytes > kMaxAnswerBytes && response->entries_size() > 1) {
      response->mutable_entries()->RemoveLast();
      break;
    }
    ++sent_;
  }
  StartWrite(response);
}

void StreamJobsCall::OnWriteDone(bool ok) {
  int64_t bytes = 0;
  int64_t held = 0;
  const auto answers = static_cast<int64_t>(sent_ - written_);
  for (; written_ < sent_; ++written_) {
    bytes += sending_[written_].bytes;
    held += sending_[written_].held + kJobBytes;
    sending_[written_] = Answer();
  }
  response_arena_.Reset();
  if (sent_ == sending_.size()) {
    sending_.clear();
    sent_ = 0;
  }
  bool more = false;
  {
    MutexLock lock(mu_);
    open_jobs_ -= answers;
    open_bytes_ -= bytes;
    held_.GiveBack(held);
    broken_ = broken_ || !ok;
    if (sending_.empty()) sending_.swap(ended_);
    more = !broken_ && !sending_.empty();
    writing_ = more;
    ReadNext();
  }
  if (more) {
    Write();
  } else {
    GoOn();
  }
}

void StreamJobsCall::Abandon(std::vector<Left> left) {
  if (left.empty()) return;
  // Thousands take their time.
  const auto abandon = [&pipeline = pipeline_, left = std::move(left)] {
    for (const Left& one : left) {
      one.job->RemoveWaiter(one.slot.get());
      if (one.owned) pipeline.control().Cancel(one.job, CancelReason::kCallerGone);
    }
  };
  if (!pool_.Run(abandon)) abandon();
}

}  // namespace jobpool
