#include "server/service/job_codec.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/job/resource_name.h"
#include "server/service/fingerprint.h"
#include "server/service/status_codec.h"
#include "server/service/time_codec.h"
#include "server/service/work_codec.h"

namespace jobpool {
namespace {

v1::Job::State EncodeState(JobState state) {
  switch (state) {
    case JobState::kScheduled:
      return v1::Job::SCHEDULED;
    case JobState::kQueued:
      return v1::Job::QUEUED;
    case JobState::kRunning:
      return v1::Job::RUNNING;
    case JobState::kSucceeded:
      return v1::Job::SUCCEEDED;
    case JobState::kFailed:
      return v1::Job::FAILED;
    case JobState::kCancelled:
      return v1::Job::CANCELLED;
  }
  return v1::Job::STATE_UNSPECIFIED;
}

v1::ExplainJobResponse::Wait EncodeWait(JobWait wait) {
  switch (wait) {
    case JobWait::kNothing:
      return v1::ExplainJobResponse::WAIT_UNSPECIFIED;
    case JobWait::kSchedule:
      return v1::ExplainJobResponse::SCHEDULE;
    case JobWait::kBackoff:
      return v1::ExplainJobResponse::BACKOFF;
    case JobWait::kPause:
      return v1::ExplainJobResponse::PAUSE;
    case JobWait::kKindLimit:
      return v1::ExplainJobResponse::KIND_LIMIT;
    case JobWait::kPoolRate:
      return v1::ExplainJobResponse::POOL_RATE;
    case JobWait::kWorkers:
      return v1::ExplainJobResponse::WORKERS;
    case JobWait::kStart:
      return v1::ExplainJobResponse::START;
  }
  return v1::ExplainJobResponse::WAIT_UNSPECIFIED;
}

// Nothing if there is none, or with a violation if it is none.
std::optional<RequestId> DecodeRequestId(const std::string& text, absl::string_view prefix,
                                         Violations& violations) {
  if (text.empty()) return std::nullopt;
  std::optional<RequestId> id = ParseRequestId(text);
  if (!id.has_value()) {
    violations.Add(absl::StrCat(prefix, "request_id"),
                   "must be a UUID, such as 5f0c6b1e-7a1d-4c0e-9d55-3b1f0e8f2a46, and not nil");
  }
  return id;
}

v1::StopStep::Action EncodeAction(StopStep::Action action) {
  switch (action) {
    case StopStep::Action::kAsked:
      return v1::StopStep::ASKED;
    case StopStep::Action::kAbandoned:
      return v1::StopStep::ABANDONED;
    case StopStep::Action::kTerminated:
      return v1::StopStep::TERMINATED;
    case StopStep::Action::kKilled:
      return v1::StopStep::KILLED;
  }
  return v1::StopStep::ACTION_UNSPECIFIED;
}

void EncodeUsage(const ResourceUsage& usage, v1::ResourceUsage* encoded) {
  EncodeDuration(usage.user_cpu_time, encoded->mutable_user_cpu_time());
  EncodeDuration(usage.system_cpu_time, encoded->mutable_system_cpu_time());
  encoded->set_voluntary_context_switches(usage.voluntary_context_switches);
  encoded->set_involuntary_context_switches(usage.involuntary_context_switches);
  encoded->set_minor_page_faults(usage.minor_page_faults);
  encoded->set_major_page_faults(usage.major_page_faults);
  encoded->set_peak_memory_bytes(usage.peak_memory_bytes);
}

void EncodeAttempt(const Attempt& attempt, v1::Attempt* encoded) {
  encoded->set_number(attempt.number);
  encoded->set_thread(ThreadName(attempt.thread_id));
  encoded->set_thread_display_name(attempt.thread_display_name);
  encoded->set_os_thread_id(attempt.os_thread_id);
  encoded->set_process_id(attempt.process_id);
  EncodeTime(attempt.start_time, encoded->mutable_start_time());
  for (const StopStep& step : attempt.stop_steps) {
    v1::StopStep* const added = encoded->add_stop_steps();
    added->set_action(EncodeAction(step.action));
    EncodeTime(step.time, added->mutable_time());
  }
  if (attempt.end_time == absl::InfiniteFuture()) return;
  EncodeTime(attempt.end_time, encoded->mutable_end_time());
  EncodeUsage(attempt.usage, encoded->mutable_usage());
  if (!attempt.error.ok()) *encoded->mutable_error() = EncodeStatus(attempt.error);
}

void EncodeRetryPolicy(const RetryPolicy& policy, v1::RetryPolicy* encoded) {
  encoded->set_max_attempts(policy.max_attempts);
  EncodeDuration(policy.initial_backoff, encoded->mutable_initial_backoff());
  EncodeDuration(policy.max_backoff, encoded->mutable_max_backoff());
  encoded->set_multiplier(policy.multiplier);
  encoded->set_jitter(policy.jitter);
}

RetryPolicy DecodeRetryPolicy(const v1::RetryPolicy& encoded, absl::string_view path,
                              Violations& violations) {
  const auto at = [&](absl::string_view field) { return absl::StrCat(path, ".", field); };
  RetryPolicy policy;
  if (encoded.max_attempts() != 0) {
    policy.max_attempts = encoded.max_attempts();
    CheckRange(policy.max_attempts, 1, kMaxAttempts, at("max_attempts"), violations);
  }
  if (encoded.has_initial_backoff()) {
    policy.initial_backoff = DecodeDuration(encoded.initial_backoff(), at("initial_backoff"), violations)
                                 .value_or(policy.initial_backoff);
    CheckRange(policy.initial_backoff, kMaxBackoff, at("initial_backoff"), violations);
  }
  policy.max_backoff = std::max(policy.max_backoff, policy.initial_backoff);
  if (encoded.has_max_backoff()) {
    policy.max_backoff =
        DecodeDuration(encoded.max_backoff(), at("max_backoff"), violations).value_or(policy.max_backoff);
    CheckRange(policy.max_backoff, kMaxBackoff, at("max_backoff"), violations);
    if (policy.max_backoff < policy.initial_backoff) {
      violations.Add(at("max_backoff"), "must not be less than initial_backoff");
    }
  }
  if (encoded.has_multiplier()) policy.multiplier = encoded.multiplier();
  CheckRealRange(policy.multiplier, 1, kMaxBackoffMultiplier, at("multiplier"), violations);
  if (encoded.has_jitter()) policy.jitter = encoded.jitter();
  CheckRealRange(policy.jitter, 0, 1, at("jitter"), violations);
  return policy;
}

absl::Time DecodeTimeAhead(const google::protobuf::Timestamp& encoded, absl::Time now,
                           absl::string_view field, Violations& violations) {
  const absl::Time time = DecodeTime(encoded, field, violations).value_or(now);
  if (time > now + kMaxAhead) violations.Add(field, "must be at most 30 days ahead");
  return time;
}

// Encodes each of `jobs` in the fullest view in which all of them are small enough.
template <typename Job, typename EncodeOne>
void EncodeAll(const std::vector<Job>& jobs, EncodeOne encode,
               google::protobuf::RepeatedPtrField<v1::Job>* encoded) {
  for (const JobView view : {JobView::kFull, JobView::kWithoutResult, JobView::kBrief}) {
    encoded->Clear();
    size_t bytes = 0;
    for (const Job& job : jobs) {
      v1::Job* const added = encoded->Add();
      encode(job, view, added);
      bytes += added->ByteSizeLong() + 8;  // 8: more than its tag and length
      if (bytes > kMaxAnswerBytes && view != JobView::kBrief) break;
    }
    if (bytes <= kMaxAnswerBytes) return;
  }
}

}  // namespace

void EncodeJob(const JobRecord& job, const std::optional<Progress::Value>& progress, JobView view,
               v1::Job* encoded) {
  encoded->set_name(JobName(job.id));
  encoded->set_state(EncodeState(job.state));
  encoded->set_alive(job.state == JobState::kRunning);
  EncodeTime(job.create_time, encoded->mutable_create_time());
  if (!job.attempts.empty()) EncodeTime(job.attempts.front().start_time, encoded->mutable_start_time());
  if (job.outcome != nullptr) {
    EncodeTime(job.outcome->end_time, encoded->mutable_end_time());
    EncodeTime(job.ExpireTime(), encoded->mutable_expire_time());
    if (!job.outcome->error.ok()) {
      if (view == JobView::kBrief) {
        encoded->mutable_error()->set_code(static_cast<int>(job.outcome->error.code()));
      } else {
        *encoded->mutable_error() = EncodeStatus(job.outcome->error);
      }
    }
  }
  if (view == JobView::kBrief) return;
  const JobOptions& options = job.Options();
  encoded->set_display_name(job.DisplayName());
  EncodeWork(job.work, /*with_payload=*/view == JobView::kFull, encoded);
  encoded->set_pool(PoolName(*job.pool));
  encoded->set_daemon(job.daemon);
  encoded->set_durability(job.durability == Durability::kDisk ? v1::Job::DISK : v1::Job::MEMORY);
  const bool in_process = job.isolation == Isolation::kProcess || KindOf(job.work) == Kind::kCommand;
  encoded->set_isolation(in_process ? v1::Job::PROCESS : v1::Job::THREAD);
  for (const auto& [key, value] : options.labels) (*encoded->mutable_labels())[key] = value;
  EncodeDuration(options.retention, encoded->mutable_retention());
  if (progress.has_value()) {
    encoded->mutable_progress()->set_ratio(progress->ratio);
    encoded->mutable_progress()->set_message(progress->message);
  }
  encoded->set_priority(job.priority);
  if (options.timeout != absl::InfiniteDuration())
    EncodeDuration(options.timeout, encoded->mutable_timeout());
  if (options.deadline_time != absl::InfiniteFuture()) {
    EncodeTime(options.deadline_time, encoded->mutable_deadline_time());
  }
  if (options.schedule_time != absl::InfinitePast()) {
    EncodeTime(options.schedule_time, encoded->mutable_schedule_time());
  }
  if (job.state == JobState::kScheduled) EncodeTime(job.ReadyTime(), encoded->mutable_ready_time());
  if (options.retry.max_attempts > 1) EncodeRetryPolicy(options.retry, encoded->mutable_retry_policy());
  if (!options.retry_of.empty()) encoded->set_retry_of(JobName(options.retry_of));
  encoded->set_etag(job.Etag());
  for (const Attempt& attempt : job.attempts) EncodeAttempt(attempt, encoded->add_attempts());
  if (view == JobView::kFull && job.outcome != nullptr && job.outcome->result.has_value()) {
    EncodeResult(*job.outcome->result, encoded->mutable_result());
  }
}

JobSpec DecodeJob(const v1::Job& job, absl::string_view prefix, absl::Time now, Violations& violations) {
  const auto path = [&](absl::string_view field) { return absl::StrCat(prefix, ".", field); };
  JobSpec spec;
  if (std::optional<Work> work = DecodeWork(job, prefix, violations); work.has_value()) {
    CheckWork(*work, prefix, violations);
    spec.work = *std::move(work);
  }
  if (!job.display_name().empty()) {
    CheckDisplayName(job.display_name(), kMaxDisplayNameCharacters, path("display_name"), violations);
    spec.options.display_name = job.display_name();
  }
  if (!job.pool().empty()) {
    const std::optional<std::string> pool = ParsePoolName(job.pool());
    if (pool.has_value()) {
      spec.pool = *pool;
    } else {
      violations.Add(path("pool"), "must be pools/{pool}");
    }
  }
  spec.daemon = job.daemon();
  switch (job.durability()) {
    case v1::Job::DURABILITY_UNSPECIFIED:
      break;
    case v1::Job::MEMORY:
      spec.durability = Durability::kMemory;
      break;
    case v1::Job::DISK:
      spec.durability = Durability::kDisk;
      break;
    default:
      violations.Add(path("durability"), "must be MEMORY or DISK");
  }
  switch (job.isolation()) {
    case v1::Job::ISOLATION_UNSPECIFIED:
    case v1::Job::THREAD:
      break;
    case v1::Job::PROCESS:
      spec.isolation = Isolation::kProcess;
      break;
    default:
      violations.Add(path("isolation"), "must be THREAD or PROCESS");
  }
  spec.options.labels = DecodeLabels(job.labels(), path("labels"), violations);
  if (job.has_retention()) {
    spec.options.retention =
        DecodeDuration(job.retention(), path("retention"), violations).value_or(kDefaultRetention);
    CheckRange(spec.options.retention, kMaxRetention, path("retention"), violations);
  }
  if (job.has_priority()) spec.priority = DecodePriority(job.priority(), path("priority"), violations);
  if (job.has_timeout()) {
    spec.options.timeout =
        DecodeDuration(job.timeout(), path("timeout"), violations).value_or(absl::InfiniteDuration());
    if (spec.options.timeout <= absl::ZeroDuration() ||
        (spec.options.timeout > kMaxTimeout && spec.options.timeout != absl::InfiniteDuration())) {
      violations.Add(path("timeout"), "must be more than 0 and at most 30 days");
    }
  }
  if (job.has_schedule_time()) {
    spec.options.schedule_time =
        DecodeScheduleTime(job.schedule_time(), now, path("schedule_time"), violations);
  }
  if (job.has_deadline_time()) {
    spec.options.deadline_time =
        DecodeDeadlineTime(job.deadline_time(), now, path("deadline_time"), violations);
    if (spec.options.deadline_time <= spec.options.schedule_time) {
      violations.Add(path("deadline_time"), "must be after schedule_time");
    }
  }
  if (job.has_retry_policy()) {
    spec.options.retry = DecodeRetryPolicy(job.retry_policy(), path("retry_policy"), violations);
  }
  return spec;
}

void EncodeJobs(const std::vector<JobHandle>& jobs, google::protobuf::RepeatedPtrField<v1::Job>* encoded) {
  EncodeAll(
      jobs,
      [](const JobHandle& handle, JobView view, v1::Job* job) { EncodeJob(handle.Snapshot(), view, job); },
      encoded);
}

void MakeBrief(v1::Job* job) {
  v1::Job brief;
  brief.set_name(job->name());
  brief.set_state(job->state());
  brief.set_alive(job->alive());
  if (job->has_create_time()) *brief.mutable_create_time() = job->create_time();
  if (job->has_start_time()) *brief.mutable_start_time() = job->start_time();
  if (job->has_end_time()) *brief.mutable_end_time() = job->end_time();
  if (job->has_expire_time()) *brief.mutable_expire_time() = job->expire_time();
  if (job->has_error()) brief.mutable_error()->set_code(job->error().code());
  brief.Swap(job);
}

void EncodeValidatedJobs(const std::vector<JobRecord>& jobs,
                         google::protobuf::RepeatedPtrField<v1::Job>* encoded) {
  EncodeAll(jobs, EncodeValidatedJob, encoded);
}

void EncodeValidatedJob(const JobRecord& job, JobView view, v1::Job* encoded) {
  EncodeJob({job, job.outcome != nullptr ? job.outcome->progress : std::nullopt}, view, encoded);
  if (job.number > 0) return;  // the same request has made it before
  encoded->clear_state();
  encoded->clear_create_time();
  encoded->clear_etag();
  encoded->clear_ready_time();
  if (job.id.empty()) encoded->clear_name();
  if (job.Options().display_name.empty()) encoded->clear_display_name();
}

JobSpec DecodeSubmission(const v1::Job* job, const std::string& job_id, const std::string& request_id,
                         absl::string_view prefix, absl::Time now, Violations& violations) {
  JobSpec spec;
  if (job != nullptr) {
    spec = DecodeJob(*job, absl::StrCat(prefix, "job"), now, violations);
  } else {
    violations.Add(absl::StrCat(prefix, "job"), "is required");
  }
  if (!job_id.empty()) CheckJobId(job_id, absl::StrCat(prefix, "job_id"), violations);
  spec.id = job_id;
  const std::optional<RequestId> id = DecodeRequestId(request_id, prefix, violations);
  if (id.has_value() && job != nullptr) spec.request = RequestKey{*id, FingerprintOf(*job, job_id)};
  return spec;
}

std::optional<RequestKey> DecodeRequestKey(const v1::RetryJobRequest& request, Violations& violations) {
  const std::optional<RequestId> id = DecodeRequestId(request.request_id(), "", violations);
  if (!id.has_value()) return std::nullopt;
  return RequestKey{*id, FingerprintOf(request, request.job_id())};
}

void EncodeExplanation(const Explanation& explanation, v1::ExplainJobResponse* encoded) {
  encoded->set_state(EncodeState(explanation.state));
  encoded->set_wait(EncodeWait(explanation.wait));
  encoded->set_explanation(explanation.text);
  encoded->set_place(explanation.place);
  if (explanation.estimated_start.has_value()) {
    EncodeTime(*explanation.estimated_start, encoded->mutable_estimated_start_time());
  }
  encoded->set_basis(explanation.basis);
  encoded->set_drain_rate(explanation.drain_rate);
}

uint8_t DecodePriority(int32_t priority, absl::string_view field, Violations& violations) {
  CheckRange(priority, 0, kPriorities - 1, field, violations);
  return static_cast<uint8_t>(std::clamp(priority, 0, kPriorities - 1));
}

absl::Time DecodeScheduleTime(const google::protobuf::Timestamp& encoded, absl::Time now,
                              absl::string_view field, Violations& violations) {
  return DecodeTimeAhead(encoded, now, field, violations);
}

absl::Time DecodeDeadlineTime(const google::protobuf::Timestamp& encoded, absl::Time now,
                              absl::string_view field, Violations& violations) {
  // Whether it has passed is asked when it is clear that the request has not made its job before.
  return DecodeTimeAhead(encoded, now, field, violations);
}

Labels DecodeLabels(const google::protobuf::Map<std::string, std::string>& labels, absl::string_view field,
                    Violations& violations) {
  Labels decoded(labels.begin(), labels.end());
  std::sort(decoded.begin(), decoded.end());
  CheckLabels(decoded, field, violations);
  return decoded;
}

std::string DecodeJobName(absl::string_view name, absl::string_view field, Violations& violations) {
  std::optional<std::string> id = ParseJobName(name);
  if (!id.has_value()) violations.Add(field, "must be jobs/{id}");
  return id.value_or("");
}

}  // namespace jobpool
