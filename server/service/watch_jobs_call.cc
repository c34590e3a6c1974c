#include "server/service/watch_jobs_call.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/job/bounds.h"
#include "server/job/errors.h"
#include "server/query/job_filter.h"
#include "server/service/job_codec.h"

namespace jobpool {
namespace {

v1::JobEvent::Type EncodeType(JobEventType type) {
  switch (type) {
    case JobEventType::kInitial:
      return v1::JobEvent::INITIAL;
    case JobEventType::kCreated:
      return v1::JobEvent::CREATED;
    case JobEventType::kChanged:
      return v1::JobEvent::CHANGED;
    case JobEventType::kProgress:
      return v1::JobEvent::PROGRESS;
    case JobEventType::kEnded:
      return v1::JobEvent::ENDED;
    case JobEventType::kDeleted:
      return v1::JobEvent::DELETED;
    case JobEventType::kOutput:
      return v1::JobEvent::OUTPUT;
  }
  return v1::JobEvent::TYPE_UNSPECIFIED;
}

void EncodeEvent(const JobEvent& event, v1::JobEvent* encoded) {
  encoded->set_type(EncodeType(event.type));
  if (event.output.has_value()) {
    EncodeJob({*event.job, std::nullopt}, JobView::kBrief, encoded->mutable_job());
    encoded->mutable_output()->set_stream(event.output->stream == OutputStream::kOut
                                              ? v1::JobEvent::Output::STDOUT
                                              : v1::JobEvent::Output::STDERR);
    encoded->mutable_output()->set_data(event.output->bytes);
    return;
  }
  const bool with_result = IsEnded(event.job->state) && event.type != JobEventType::kDeleted;
  const JobSnapshot job{*event.job, event.progress};
  EncodeJob(job, with_result ? JobView::kFull : JobView::kWithoutResult, encoded->mutable_job());
  if (with_result && encoded->ByteSizeLong() > kMaxAnswerBytes) {
    encoded->mutable_job()->Clear();
    EncodeJob(job, JobView::kWithoutResult, encoded->mutable_job());
  }
}

// What is to be watched; the filter as text is the request's.
WatchSpec Decode(const v1::WatchJobsRequest& request, Violations& violations) {
  WatchSpec spec;
  spec.changes_only = request.changes_only();
  spec.output = request.include_output();
  if (request.names().empty() == request.filter().empty()) {
    violations.Add("names", "either names or filter is required");
  } else if (request.names().empty()) {
    absl::StatusOr<JobFilter> filter = JobFilter::Parse(request.filter());
    if (filter.ok()) {
      spec.filter = *std::move(filter);
    } else {
      violations.Add("filter", filter.status().message());
    }
  } else if (request.names_size() > kMaxWatchedJobs) {
    violations.Add("names",
                   absl::StrCat("must be at most ", kMaxWatchedJobs, " names, are ", request.names_size()));
  } else {
    for (int i = 0; i < request.names_size(); ++i) {
      spec.ids.push_back(DecodeJobName(request.names(i), absl::StrCat("names[", i, "]"), violations));
    }
    std::sort(spec.ids.begin(), spec.ids.end());
    spec.ids.erase(std::unique(spec.ids.begin(), spec.ids.end()), spec.ids.end());
    if (request.changes_only()) violations.Add("changes_only", "goes with filter");
  }
  return spec;
}

// Beside what an open call holds: the request, which gRPC keeps, and each id twice, with an index; with a
// filter, those of as many jobs as may match at first.
int64_t BytesToHold(const v1::WatchJobsRequest& request, const WatchSpec& spec) {
  constexpr size_t kIndexBytes = 64;
  const size_t ids = spec.ids.size() * (2 * (sizeof(std::string) + kMaxIdBytes) + kIndexBytes);
  const bool first_states = spec.ids.empty() && !spec.changes_only && !spec.after.has_value();
  return static_cast<int64_t>(request.SpaceUsedLong() + ids +
                              (first_states ? kMaxWatchedJobs * kIndexBytes : 0));
}

}  // namespace

grpc::ServerWriteReactor<v1::WatchJobsResponse>* WatchJobsCall::Start(JobWatches& watches, uint64_t epoch,
                                                                      const CallResources& resources,
                                                                      const CallCount& count,
                                                                      const v1::WatchJobsRequest& request) {
  Violations violations;
  WatchSpec spec = Decode(request, violations);
  WatchTokens tokens(epoch, spec.ids, request.filter());
  absl::Status status;
  if (!request.resume_token().empty()) {
    const absl::StatusOr<uint64_t> position = tokens.Read(request.resume_token());
    if (position.ok()) {
      spec.after = *position;
    } else if (absl::IsInvalidArgument(position.status())) {
      violations.Add("resume_token", position.status().message());
    } else {
      status = position.status();
    }
  }
  if (!violations.empty()) status = violations.ToStatus();
  const std::shared_ptr<WatchJobsCall> call(new WatchJobsCall(watches, std::move(tokens), resources, count));
  call->Share();
  if (status.ok()) status = call->HoldOpen(BytesToHold(request, spec));
  if (!status.ok()) {
    call->End(status);
  } else if (!resources.pool.Run(
                 [call, spec = std::move(spec)]() mutable { call->Begin(std::move(spec)); })) {
    call->End(TooManyCallsError("calls wait for a thread", resources.pool.max_tasks()));
  }
  return call.get();
}

void WatchJobsCall::Begin(WatchSpec spec) {
  absl::StatusOr<std::shared_ptr<JobWatch>> watch =
      watches_.Watch(std::move(spec), [weak = weak_from_this()] {
        if (const auto call = weak.lock(); call != nullptr) call->Wake();
      });
  if (!watch.ok()) {
    End(watch.status());
    return;
  }
  bool gone = false;
  {
    MutexLock lock(mu_);
    gone = finished_;
    if (!gone) watch_ = *watch;
  }
  if (gone) {
    (*watch)->Close();
  } else {
    Pump();
  }
}

void WatchJobsCall::Wake() {
  {
    MutexLock lock(mu_);
    if (finished_ || std::exchange(woken_, true) || busy_) return;
    busy_ = true;
  }
  SchedulePump();
}

void WatchJobsCall::SchedulePump() {
  const auto pump = [call = shared_from_this()] { call->Pump(); };
  if (!pool_.Run(pump)) pump();
}

void WatchJobsCall::Pump() {
  for (;;) {
    std::shared_ptr<JobWatch> watch;
    {
      MutexLock lock(mu_);
      if (finished_) return;
      watch = watch_;
      woken_ = false;
    }
    v1::WatchJobsResponse message;
    const Filled filled = Fill(*watch, message);
    absl::Status end = filled.end;
    if (filled.send) {
      MutexLock lock(mu_);
      if (finished_) return;
      if (const absl::Status held = message_held_.TakeMessage(message.ByteSizeLong()); held.ok()) {
        if (filled.then == Then::kEnd) end_ = filled.end;
        response_.Swap(&message);
        StartWrite(&response_);
        return;
      } else {
        end = held;
      }
    } else if (filled.then == Then::kWait) {
      MutexLock lock(mu_);
      if (woken_) continue;
      busy_ = false;
      return;
    }
    End(end);
    return;
  }
}

WatchJobsCall::Filled WatchJobsCall::Fill(JobWatch& watch, v1::WatchJobsResponse& message) {
  Filled filled;
  size_t bytes = 0;
  while (message.events_size() < kMaxEvents) {
    WatchItem item = left_over_.has_value() ? *std::exchange(left_over_, std::nullopt) : watch.Take();
    if (item.kind == WatchItem::Kind::kEvent) {
      EncodeEvent(*item.event, message.add_events());
      bytes +=
          message.events(message.events_size() - 1).ByteSizeLong() + 8;  // 8: more than its tag and length
      if (bytes > kMaxAnswerBytes && message.events_size() > 1) {
        message.mutable_events()->RemoveLast();
        left_over_ = std::move(item);
        break;
      }
      position_ = item.position;
      continue;
    }
    if (item.kind != WatchItem::Kind::kCut) position_ = item.position;
    // What came before an end is sent first; the watch says the same again then.
    if (item.kind == WatchItem::Kind::kNothingYet) {
      filled.then = Then::kWait;
    } else if (item.kind == WatchItem::Kind::kShuttingDown) {
      message.set_shutting_down(true);
      filled = {Then::kEnd, ShuttingDownError(), true};
    } else if (message.events_size() == 0) {
      filled = {Then::kEnd, item.error, false};
    }
    break;
  }
  const bool first_token = position_.has_value() && !sent_token_;
  filled.send =
      filled.send || message.events_size() > 0 || (filled.then == Then::kWait && (!sent_any_ || first_token));
  if (filled.send && position_.has_value()) {
    message.set_resume_token(tokens_.Make(*position_));
    sent_token_ = true;
  }
  sent_any_ = sent_any_ || filled.send;
  return filled;
}

void WatchJobsCall::OnWriteDone(bool ok) {
  std::optional<absl::Status> end;
  {
    MutexLock lock(mu_);
    message_held_.Release();
    v1::WatchJobsResponse().Swap(&response_);
    end = end_;
  }
  if (!ok) {
    End(CallCancelledError());
  } else if (end.has_value()) {
    End(*end);
  } else {
    SchedulePump();
  }
}

void WatchJobsCall::OnCancel() { End(CallCancelledError()); }

void WatchJobsCall::End(const absl::Status& status) {
  std::shared_ptr<JobWatch> watch;
  {
    MutexLock lock(mu_);
    if (!ClaimFinish()) return;
    watch = std::move(watch_);
  }
  if (watch != nullptr) watch->Close();
  FinishWith(status);
}

}  // namespace jobpool
