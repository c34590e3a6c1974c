#include "server/job/errors.h"

#include <utility>

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"
#include "google/rpc/error_details.pb.h"
#include "jobpool/v1/error_reason.pb.h"
#include "server/job/validation.h"

namespace jobpool {
namespace {

// An error travels in the trailing metadata of a call, of which clients take 8 KiB
// by default, in base 64: the details must stay well below 6 KiB together.
constexpr size_t kMaxViolationBytes = 3000;

using Metadata = std::vector<std::pair<std::string, std::string>>;

// How a process ended.
Metadata::value_type EndMetadata(int exit_status, int signal) {
  if (signal != 0) return {"signal", absl::StrCat(signal)};
  return {"exit_status", absl::StrCat(exit_status)};
}

void Attach(absl::Status& status, const google::protobuf::Message& detail) {
  status.SetPayload(absl::StrCat("type.googleapis.com/", detail.GetDescriptor()->full_name()),
                    absl::Cord(detail.SerializeAsString()));
}

absl::Status Make(absl::StatusCode code, v1::ErrorReason reason, absl::string_view message,
                  const Metadata& metadata = {}) {
  absl::Status status(code, message);
  google::rpc::ErrorInfo info;
  info.set_reason(v1::ErrorReason_Name(reason));
  info.set_domain("jobpool");
  for (const auto& [key, value] : metadata) (*info.mutable_metadata())[key] = value;
  Attach(status, info);
  return status;
}

absl::Status NotFound(v1::ErrorReason reason, absl::string_view type, absl::string_view resource_type,
                      absl::string_view name) {
  absl::Status status = Make(absl::StatusCode::kNotFound, reason,
                             absl::StrCat("no ", type, " \"", name, "\""), {{"name", std::string(name)}});
  google::rpc::ResourceInfo resource;
  resource.set_resource_type(std::string(resource_type));
  resource.set_resource_name(std::string(name));
  resource.set_description("never was, has ended, was deleted or has expired");
  Attach(status, resource);
  return status;
}

void AttachPrecondition(absl::Status& status, absl::string_view type, absl::string_view subject) {
  google::rpc::PreconditionFailure failure;
  auto* violation = failure.add_violations();
  violation->set_type(std::string(type));
  violation->set_subject(std::string(subject));
  violation->set_description(std::string(status.message()));
  Attach(status, failure);
}

absl::Status WrongState(v1::ErrorReason reason, absl::string_view message, absl::string_view name,
                        absl::string_view state) {
  absl::Status status = Make(absl::StatusCode::kFailedPrecondition, reason, message,
                             {{"name", std::string(name)}, {"state", std::string(state)}});
  AttachPrecondition(status, "STATE", name);
  return status;
}

void AttachRetry(absl::Status& status, absl::Duration delay) {
  google::rpc::RetryInfo retry;
  const int64_t seconds = absl::IDivDuration(delay, absl::Seconds(1), &delay);
  retry.mutable_retry_delay()->set_seconds(seconds);
  retry.mutable_retry_delay()->set_nanos(static_cast<int32_t>(absl::ToInt64Nanoseconds(delay)));
  Attach(status, retry);
}

void AttachQuota(absl::Status& status, absl::string_view subject, absl::string_view description) {
  google::rpc::QuotaFailure quota;
  auto* violation = quota.add_violations();
  violation->set_subject(std::string(subject));
  violation->set_description(std::string(description));
  Attach(status, quota);
}

}  // namespace

absl::Status InvalidFieldsError(const std::vector<FieldViolation>& violations) {
  const FieldViolation& first = violations.front();
  std::string message = absl::StrCat(first.field, ": ", first.description);
  Metadata metadata = {{"field", first.field}, {"description", first.description}};
  google::rpc::BadRequest bad;
  size_t bytes = 0;
  for (const FieldViolation& violation : violations) {
    bytes += violation.field.size() + violation.description.size();
    if (bytes > kMaxViolationBytes) break;
    auto* field = bad.add_field_violations();
    field->set_field(violation.field);
    field->set_description(violation.description);
  }
  if (violations.size() > 1) {
    const std::string more = absl::StrCat(violations.size() - 1);
    absl::StrAppend(&message, " (and ", more, " more)");
    metadata.emplace_back("more", more);
  }
  absl::Status status = Make(absl::StatusCode::kInvalidArgument, v1::INVALID_FIELD, message, metadata);
  Attach(status, bad);
  return status;
}

absl::Status JobNotFoundError(absl::string_view name) {
  return NotFound(v1::JOB_NOT_FOUND, "job", "jobpool.v1.Job", name);
}

absl::Status ThreadNotFoundError(absl::string_view name) {
  return NotFound(v1::THREAD_NOT_FOUND, "thread", "jobpool.v1.Thread", name);
}

absl::Status PoolNotFoundError(absl::string_view name) {
  return NotFound(v1::POOL_NOT_FOUND, "pool", "jobpool.v1.Pool", name);
}

absl::Status ServiceNotFoundError(absl::string_view name) {
  return NotFound(v1::SERVICE_NOT_FOUND, "service", "grpc.health.v1.Health", name);
}

absl::Status JobExistsError(absl::string_view name) {
  absl::Status status = Make(absl::StatusCode::kAlreadyExists, v1::JOB_EXISTS,
                             absl::StrCat("job \"", name, "\" exists"), {{"name", std::string(name)}});
  google::rpc::ResourceInfo resource;
  resource.set_resource_type("jobpool.v1.Job");
  resource.set_resource_name(std::string(name));
  resource.set_description("the id is taken");
  Attach(status, resource);
  return status;
}

absl::Status JobEndedError(absl::string_view name, absl::string_view state) {
  return WrongState(v1::JOB_ENDED, absl::StrCat("job \"", name, "\" has ended: ", state), name, state);
}

absl::Status JobNotEndedError(absl::string_view name, absl::string_view state) {
  return WrongState(v1::JOB_NOT_ENDED, absl::StrCat("job \"", name, "\" has not ended: ", state), name,
                    state);
}

absl::Status JobRunningError(absl::string_view name, absl::string_view state) {
  return WrongState(v1::JOB_RUNNING, absl::StrCat("job \"", name, "\" runs: ", state), name, state);
}

absl::Status EtagMismatchError(absl::string_view name, absl::string_view etag) {
  return Make(absl::StatusCode::kAborted, v1::ETAG_MISMATCH,
              absl::StrCat("job \"", name, "\" has changed: its etag is not \"", etag, "\" any more"),
              {{"name", std::string(name)}, {"etag", std::string(etag)}});
}

absl::Status RequestIdReusedError(absl::string_view name) {
  const std::string message =
      absl::StrCat("the request_id was used before, with another payload, for \"", name, "\"");
  absl::Status status = Make(absl::StatusCode::kFailedPrecondition, v1::REQUEST_ID_REUSED, message,
                             {{"name", std::string(name)}});
  AttachPrecondition(status, "REQUEST_ID", name);
  return status;
}

absl::Status RequestIdsFullError(int64_t limit, absl::Duration retry_delay) {
  const std::string message = absl::StrCat("already ", limit, " request_ids are remembered");
  absl::Status status = Make(absl::StatusCode::kResourceExhausted, v1::REQUEST_IDS_FULL, message,
                             {{"limit", absl::StrCat(limit)}});
  AttachQuota(status, "request_ids", message);
  AttachRetry(status, retry_delay);
  return status;
}

absl::Status QueueFullError(absl::string_view pool, int64_t limit, absl::Duration retry_delay) {
  const std::string message = absl::StrCat("the queue of \"", pool, "\" is full: ", limit, " jobs");
  absl::Status status = Make(absl::StatusCode::kResourceExhausted, v1::QUEUE_FULL, message,
                             {{"pool", std::string(pool)}, {"limit", absl::StrCat(limit)}});
  AttachQuota(status, pool, message);
  AttachRetry(status, retry_delay);
  return status;
}

absl::Status RateReachedError(absl::string_view subject, double limit, absl::Duration retry_delay) {
  const std::string message = absl::StrCat("\"", subject, "\" takes at most ", limit, " jobs a second");
  absl::Status status = Make(absl::StatusCode::kResourceExhausted, v1::RATE_REACHED, message,
                             {{"subject", std::string(subject)}, {"limit", absl::StrCat(limit)}});
  AttachQuota(status, subject, message);
  AttachRetry(status, retry_delay);
  return status;
}

absl::Status PoolDrainingError(absl::string_view pool) {
  absl::Status status = Make(absl::StatusCode::kUnavailable, v1::POOL_DRAINING,
                             absl::StrCat("\"", pool, "\" drains"), {{"pool", std::string(pool)}});
  AttachRetry(status, absl::Seconds(1));
  return status;
}

absl::Status ResumeTokenExpiredError() {
  return Make(absl::StatusCode::kOutOfRange, v1::RESUME_TOKEN_EXPIRED,
              "what has happened since the resume_token is not known any more");
}

absl::Status WatchTooSlowError(int64_t limit) {
  const std::string message = absl::StrCat("the caller has left ", limit, " events unread");
  absl::Status status = Make(absl::StatusCode::kResourceExhausted, v1::WATCH_TOO_SLOW, message,
                             {{"limit", absl::StrCat(limit)}});
  AttachQuota(status, "events", message);
  AttachRetry(status, absl::Milliseconds(100));
  return status;
}

absl::Status PayloadsFullError(int64_t limit) {
  const std::string message = absl::StrCat("the payloads of live jobs have reached ", limit, " bytes");
  absl::Status status = Make(absl::StatusCode::kResourceExhausted, v1::PAYLOADS_FULL, message,
                             {{"limit", absl::StrCat(limit)}});
  AttachQuota(status, "payloads", message);
  AttachRetry(status, absl::Seconds(1));
  return status;
}

absl::Status TooManyCallsError(absl::string_view what, int64_t limit) {
  const std::string message = absl::StrCat("already ", limit, " ", what);
  absl::Status status = Make(absl::StatusCode::kResourceExhausted, v1::TOO_MANY_CALLS, message,
                             {{"what", std::string(what)}, {"limit", absl::StrCat(limit)}});
  AttachQuota(status, what, message);
  AttachRetry(status, absl::Seconds(1));
  return status;
}

absl::Status ShuttingDownError() {
  absl::Status status = Make(absl::StatusCode::kUnavailable, v1::SHUTTING_DOWN, "the server shuts down");
  AttachRetry(status, absl::Seconds(1));
  return status;
}

absl::Status StoreUnavailableError(const absl::Status& cause) {
  absl::Status status = Make(absl::StatusCode::kUnavailable, v1::STORE_UNAVAILABLE,
                             absl::StrCat("the store is not available: ", cause.message()));
  AttachRetry(status, absl::Seconds(1));
  return status;
}

absl::Status StoreDamagedError(const absl::Status& cause) {
  return Make(absl::StatusCode::kDataLoss, v1::STORE_DAMAGED, std::string(cause.message()));
}

absl::Status StoreError(const absl::Status& cause) {
  return absl::IsDataLoss(cause) ? StoreDamagedError(cause) : StoreUnavailableError(cause);
}

absl::Status StoreFullError(int64_t limit) {
  const std::string message = absl::StrCat("the jobs on disk take ", limit, " bytes or more");
  absl::Status status =
      Make(absl::StatusCode::kResourceExhausted, v1::STORE_FULL, message, {{"limit", absl::StrCat(limit)}});
  AttachQuota(status, "store", message);
  AttachRetry(status, absl::Minutes(1));
  return status;
}

absl::Status NoDurableStoreError() {
  absl::Status status = Make(absl::StatusCode::kFailedPrecondition, v1::NO_DURABLE_STORE,
                             "durability DISK: this server keeps jobs in memory alone");
  AttachPrecondition(status, "STORE", "durability");
  return status;
}

absl::Status ServerLostError() {
  return Make(absl::StatusCode::kCancelled, v1::INTERRUPTED,
              "interrupted: the server ended without a shutdown, at a time that is not known");
}

absl::Status ProcessDiedError(absl::string_view what, int exit_status, int signal) {
  return Make(absl::StatusCode::kInternal, v1::PROCESS_DIED,
              absl::StrCat("the job's process has died: ", what), {EndMetadata(exit_status, signal)});
}

absl::Status CallCancelledError() {
  return Make(absl::StatusCode::kCancelled, v1::CALL_CANCELLED, "the call ended before its answer");
}

std::string ReasonOf(const absl::Status& status) {
  if (status.ok()) return "";
  google::rpc::ErrorInfo info;
  const absl::optional<absl::Cord> detail =
      status.GetPayload(absl::StrCat("type.googleapis.com/", info.GetDescriptor()->full_name()));
  if (!detail.has_value() || !info.ParseFromString(std::string(*detail))) return "";
  return info.reason();
}

absl::Status JobCancelledError(CancelReason reason) {
  switch (reason) {
    case CancelReason::kCallerGone:
      return Make(absl::StatusCode::kCancelled, v1::CALLER_GONE, "the RunJob call that it belonged to ended");
    case CancelReason::kInterrupted:
      return Make(absl::StatusCode::kCancelled, v1::INTERRUPTED, "interrupted: the server shut down");
    case CancelReason::kNotKept:
      return Make(absl::StatusCode::kCancelled, v1::STORE_UNAVAILABLE, "the store could not keep it");
    case CancelReason::kRequested:
    case CancelReason::kNone:
    case CancelReason::kTimeout:
    case CancelReason::kDeadline:
      break;
  }
  return Make(absl::StatusCode::kCancelled, v1::CANCEL_REQUESTED, "cancelled by request");
}

absl::Status AttemptTimedOutError(absl::Duration timeout) {
  const std::string text = absl::FormatDuration(timeout);
  return Make(absl::StatusCode::kDeadlineExceeded, v1::ATTEMPT_TIMED_OUT,
              absl::StrCat("the attempt took longer than ", text), {{"timeout", text}});
}

absl::Status DeadlinePassedError(absl::Time deadline_time) {
  const std::string text = absl::FormatTime(absl::RFC3339_full, deadline_time, absl::UTCTimeZone());
  return Make(absl::StatusCode::kDeadlineExceeded, v1::DEADLINE_PASSED, absl::StrCat("had to end by ", text),
              {{"deadline_time", text}});
}

absl::Status CommandFailedError(absl::string_view message, int exit_status, int signal,
                                absl::string_view limit) {
  Metadata metadata = {EndMetadata(exit_status, signal)};
  if (!limit.empty()) metadata.emplace_back("limit", std::string(limit));
  const auto code = limit.empty() ? absl::StatusCode::kUnknown : absl::StatusCode::kResourceExhausted;
  return Make(code, v1::COMMAND_FAILED, message, metadata);
}

absl::Status CommandNotAllowedError(absl::string_view name, absl::string_view why) {
  return Make(absl::StatusCode::kFailedPrecondition, v1::COMMAND_NOT_ALLOWED,
              absl::StrCat("command ", Shown(name), ": ", why), {{"name", PrintableText(name, 80)}});
}

absl::Status KindNotLoadedError(absl::string_view kind) {
  absl::Status status =
      Make(absl::StatusCode::kFailedPrecondition, v1::KIND_NOT_LOADED,
           absl::StrCat("no plug-in that this server has loaded has the kind \"", kind, "\""),
           {{"kind", std::string(kind)}});
  AttachPrecondition(status, "PLUGIN", kind);
  return status;
}

absl::Status WorkFailedError(const absl::Status& cause) {
  if (!ReasonOf(cause).empty()) return cause;
  return Make(cause.code(), v1::WORK_FAILED, cause.message());
}

}  // namespace jobpool
