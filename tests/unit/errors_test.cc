#include "server/job/errors.h"

#include <gmock/gmock.h>
#include <map>
#include <string>
#include <vector>

#include <google/rpc/error_details.pb.h>
#include <gtest/gtest.h>

#include "absl/strings/match.h"
#include "absl/strings/strip.h"
#include "jobpool/v1/error_reason.pb.h"
#include "tests/support/error_details.h"

namespace jobpool {
namespace {

using ::testing::HasSubstr;
using ::testing::UnorderedElementsAreArray;
using Metadata = std::map<std::string, std::string>;

struct Expected {
  absl::Status status;
  absl::StatusCode code;
  std::string reason;
  Metadata metadata;                 // of the ErrorInfo; its values are in the message
  std::vector<std::string> details;  // beside the ErrorInfo
};

std::vector<Expected> EveryError() {
  using Code = absl::StatusCode;
  return {
      {InvalidFieldsError({{"job.sleep.duration", "must be 0 to 168h"}, {"job.labels", "too many"}}),
       Code::kInvalidArgument,
       "INVALID_FIELD",
       {{"field", "job.sleep.duration"}, {"description", "must be 0 to 168h"}, {"more", "1"}},
       {"BadRequest"}},
      {JobNotFoundError("jobs/a"), Code::kNotFound, "JOB_NOT_FOUND", {{"name", "jobs/a"}}, {"ResourceInfo"}},
      {ThreadNotFoundError("threads/1"),
       Code::kNotFound,
       "THREAD_NOT_FOUND",
       {{"name", "threads/1"}},
       {"ResourceInfo"}},
      {PoolNotFoundError("pools/p"),
       Code::kNotFound,
       "POOL_NOT_FOUND",
       {{"name", "pools/p"}},
       {"ResourceInfo"}},
      {ServiceNotFoundError("x.Y"),
       Code::kNotFound,
       "SERVICE_NOT_FOUND",
       {{"name", "x.Y"}},
       {"ResourceInfo"}},
      {JobExistsError("jobs/a"), Code::kAlreadyExists, "JOB_EXISTS", {{"name", "jobs/a"}}, {"ResourceInfo"}},
      {JobEndedError("jobs/a", "FAILED"),
       Code::kFailedPrecondition,
       "JOB_ENDED",
       {{"name", "jobs/a"}, {"state", "FAILED"}},
       {"PreconditionFailure"}},
      {JobNotEndedError("jobs/a", "RUNNING"),
       Code::kFailedPrecondition,
       "JOB_NOT_ENDED",
       {{"name", "jobs/a"}, {"state", "RUNNING"}},
       {"PreconditionFailure"}},
      {JobRunningError("jobs/a", "RUNNING"),
       Code::kFailedPrecondition,
       "JOB_RUNNING",
       {{"name", "jobs/a"}, {"state", "RUNNING"}},
       {"PreconditionFailure"}},
      {EtagMismatchError("jobs/a", "1f-2"),
       Code::kAborted,
       "ETAG_MISMATCH",
       {{"name", "jobs/a"}, {"etag", "1f-2"}},
       {}},
      {RateReachedError("pools/p", 2.5, absl::Milliseconds(400)),
       Code::kResourceExhausted,
       "RATE_REACHED",
       {{"subject", "pools/p"}, {"limit", "2.5"}},
       {"QuotaFailure", "RetryInfo"}},
      {PoolDrainingError("pools/p"),
       Code::kUnavailable,
       "POOL_DRAINING",
       {{"pool", "pools/p"}},
       {"RetryInfo"}},
      {ResumeTokenExpiredError(), Code::kOutOfRange, "RESUME_TOKEN_EXPIRED", {}, {}},
      {WatchTooSlowError(100),
       Code::kResourceExhausted,
       "WATCH_TOO_SLOW",
       {{"limit", "100"}},
       {"QuotaFailure", "RetryInfo"}},
      {AttemptTimedOutError(absl::Seconds(90)),
       Code::kDeadlineExceeded,
       "ATTEMPT_TIMED_OUT",
       {{"timeout", "1m30s"}},
       {}},
      {DeadlinePassedError(absl::UnixEpoch()),
       Code::kDeadlineExceeded,
       "DEADLINE_PASSED",
       {{"deadline_time", "1970-01-01T00:00:00+00:00"}},
       {}},
      {RequestIdReusedError("jobs/a"),
       Code::kFailedPrecondition,
       "REQUEST_ID_REUSED",
       {{"name", "jobs/a"}},
       {"PreconditionFailure"}},
      {RequestIdsFullError(5, absl::Hours(1)),
       Code::kResourceExhausted,
       "REQUEST_IDS_FULL",
       {{"limit", "5"}},
       {"QuotaFailure", "RetryInfo"}},
      {QueueFullError("pools/p", 17, absl::Milliseconds(2500)),
       Code::kResourceExhausted,
       "QUEUE_FULL",
       {{"pool", "pools/p"}, {"limit", "17"}},
       {"QuotaFailure", "RetryInfo"}},
      {PayloadsFullError(1000),
       Code::kResourceExhausted,
       "PAYLOADS_FULL",
       {{"limit", "1000"}},
       {"QuotaFailure", "RetryInfo"}},
      {TooManyCallsError("jobs waited for", 9),
       Code::kResourceExhausted,
       "TOO_MANY_CALLS",
       {{"what", "jobs waited for"}, {"limit", "9"}},
       {"QuotaFailure", "RetryInfo"}},
      {ShuttingDownError(), Code::kUnavailable, "SHUTTING_DOWN", {}, {"RetryInfo"}},
      {StoreUnavailableError(absl::UnavailableError("disk is full")),
       Code::kUnavailable,
       "STORE_UNAVAILABLE",
       {},
       {"RetryInfo"}},
      {StoreDamagedError(absl::DataLossError("damaged")), Code::kDataLoss, "STORE_DAMAGED", {}, {}},
      {StoreFullError(9),
       Code::kResourceExhausted,
       "STORE_FULL",
       {{"limit", "9"}},
       {"QuotaFailure", "RetryInfo"}},
      {NoDurableStoreError(), Code::kFailedPrecondition, "NO_DURABLE_STORE", {}, {"PreconditionFailure"}},
      {CallCancelledError(), Code::kCancelled, "CALL_CANCELLED", {}, {}},
      {JobCancelledError(CancelReason::kRequested), Code::kCancelled, "CANCEL_REQUESTED", {}, {}},
      {JobCancelledError(CancelReason::kCallerGone), Code::kCancelled, "CALLER_GONE", {}, {}},
      {JobCancelledError(CancelReason::kInterrupted), Code::kCancelled, "INTERRUPTED", {}, {}},
      {ProcessDiedError("ended by signal 11 (SIGSEGV)", 0, 11),
       Code::kInternal,
       "PROCESS_DIED",
       {{"signal", "11"}},
       {}},
      {KindNotLoadedError("reverse"),
       Code::kFailedPrecondition,
       "KIND_NOT_LOADED",
       {{"kind", "reverse"}},
       {"PreconditionFailure"}},
      {WorkFailedError(absl::ResourceExhaustedError("out of memory")),
       Code::kResourceExhausted,
       "WORK_FAILED",
       {},
       {}},
      {CommandFailedError("exit status 3", 3, 0, ""),
       Code::kUnknown,
       "COMMAND_FAILED",
       {{"exit_status", "3"}},
       {}},
      {CommandNotAllowedError("greet", "no more"),
       Code::kFailedPrecondition,
       "COMMAND_NOT_ALLOWED",
       {{"name", "greet"}},
       {}},
  };
}

TEST(ErrorsTest, EachIsWhatTheProtoSays) {
  for (const Expected& expected : EveryError()) {
    SCOPED_TRACE(expected.reason);
    EXPECT_EQ(expected.status.code(), expected.code);
    EXPECT_FALSE(expected.status.message().empty());
    EXPECT_EQ(ReasonOf(expected.status), expected.reason);
    EXPECT_EQ(FindDetail<google::rpc::ErrorInfo>(expected.status)->domain(), "jobpool");
    v1::ErrorReason reason = v1::ERROR_REASON_UNSPECIFIED;
    EXPECT_TRUE(v1::ErrorReason_Parse(expected.reason, &reason));
    EXPECT_NE(reason, v1::ERROR_REASON_UNSPECIFIED);
    EXPECT_EQ(MetadataOf(expected.status), expected.metadata);
    for (const auto& [key, value] : expected.metadata) {
      EXPECT_THAT(std::string(expected.status.message()), HasSubstr(value));
    }
  }
}

TEST(ErrorsTest, EachCarriesOneErrorInfoAndItsDetails) {
  for (const Expected& expected : EveryError()) {
    SCOPED_TRACE(expected.reason);
    std::vector<std::string> types;
    expected.status.ForEachPayload([&](absl::string_view url, const absl::Cord&) {
      EXPECT_TRUE(absl::ConsumePrefix(&url, "type.googleapis.com/google.rpc.")) << url;
      types.emplace_back(url);
    });
    std::vector<std::string> wanted = expected.details;
    wanted.push_back("ErrorInfo");
    EXPECT_THAT(types, UnorderedElementsAreArray(wanted));
  }
}

// Every reason that the proto knows is made by one of the constructors.
TEST(ErrorsTest, NoReasonIsLeftOut) {
  std::map<std::string, int> made;
  for (const Expected& expected : EveryError()) ++made[expected.reason];
  const auto* reasons = v1::ErrorReason_descriptor();
  for (int i = 0; i < reasons->value_count(); ++i) {
    if (reasons->value(i)->number() == v1::ERROR_REASON_UNSPECIFIED) continue;
    EXPECT_EQ(made[reasons->value(i)->name()], 1) << reasons->value(i)->name();
  }
}

TEST(ErrorsTest, NotFoundNamesTheResource) {
  const auto job = FindDetail<google::rpc::ResourceInfo>(JobNotFoundError("jobs/a"));
  EXPECT_EQ(job->resource_type(), "jobpool.v1.Job");
  EXPECT_EQ(job->resource_name(), "jobs/a");
  EXPECT_EQ(FindDetail<google::rpc::ResourceInfo>(ThreadNotFoundError("threads/1"))->resource_type(),
            "jobpool.v1.Thread");
  EXPECT_EQ(FindDetail<google::rpc::ResourceInfo>(PoolNotFoundError("pools/p"))->resource_type(),
            "jobpool.v1.Pool");
  EXPECT_EQ(FindDetail<google::rpc::ResourceInfo>(JobExistsError("jobs/a"))->resource_name(), "jobs/a");
}

TEST(ErrorsTest, BadRequestHoldsEveryViolation) {
  const absl::Status status =
      InvalidFieldsError({{"job.labels", "one"}, {"job.labels", "two"}, {"f", "three"}});
  const auto bad = FindDetail<google::rpc::BadRequest>(status);
  ASSERT_EQ(bad->field_violations_size(), 3);
  EXPECT_EQ(bad->field_violations(0).description(), "one");
  EXPECT_EQ(bad->field_violations(1).description(), "two");
  EXPECT_EQ(bad->field_violations(2).field(), "f");
  EXPECT_EQ(status.message(), "job.labels: one (and 2 more)");
}

TEST(ErrorsTest, WrongStateNamesTheJob) {
  const absl::Status status = JobEndedError("jobs/a", "FAILED");
  const auto failure = FindDetail<google::rpc::PreconditionFailure>(status);
  ASSERT_EQ(failure->violations_size(), 1);
  EXPECT_EQ(failure->violations(0).subject(), "jobs/a");
  EXPECT_EQ(failure->violations(0).type(), "STATE");
}

TEST(ErrorsTest, QuotaFailureSaysOfWhat) {
  const auto queue = FindDetail<google::rpc::QuotaFailure>(QueueFullError("pools/p", 17, absl::Seconds(1)));
  ASSERT_EQ(queue->violations_size(), 1);
  EXPECT_EQ(queue->violations(0).subject(), "pools/p");
  const auto calls = FindDetail<google::rpc::QuotaFailure>(TooManyCallsError("jobs waited for", 9));
  ASSERT_EQ(calls->violations_size(), 1);
  EXPECT_EQ(calls->violations(0).subject(), "jobs waited for");
}

TEST(ErrorsTest, RetryInfoSaysWhen) {
  for (const absl::Duration delay : {absl::Milliseconds(100), absl::Seconds(1), absl::Milliseconds(2500),
                                     absl::Seconds(60), absl::Seconds(59) + absl::Nanoseconds(999'999'999)}) {
    const absl::Status status = QueueFullError("pools/p", 1, delay);
    EXPECT_EQ(RetryDelayOf(status), delay);
    EXPECT_LT(FindDetail<google::rpc::RetryInfo>(status)->retry_delay().nanos(), 1'000'000'000);
  }
  EXPECT_EQ(RetryDelayOf(TooManyCallsError("x", 1)), absl::Seconds(1));
  EXPECT_EQ(RetryDelayOf(ShuttingDownError()), absl::Seconds(1));
}

TEST(ErrorsTest, ALostServerHasInterruptedToo) {
  EXPECT_EQ(ReasonOf(ServerLostError()), ReasonOf(JobCancelledError(CancelReason::kInterrupted)));
}

TEST(ErrorsTest, WorkFailedKeepsCodeAndMessageOfTheCause) {
  const absl::Status status = WorkFailedError(absl::OutOfRangeError("too far"));
  EXPECT_EQ(status.code(), absl::StatusCode::kOutOfRange);
  EXPECT_EQ(status.message(), "too far");
}

TEST(ErrorsTest, ACommandThatALimitEndedSaysWhich) {
  const absl::Status status = CommandFailedError("ended by signal 24", 0, 24, "cpu");
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(ReasonOf(status), "COMMAND_FAILED");
  const std::map<std::string, std::string> expected = {{"signal", "24"}, {"limit", "cpu"}};
  EXPECT_EQ(MetadataOf(status), expected);
}

TEST(ErrorsTest, WorkFailedKeepsAReasonThatTheCauseHas) {
  const absl::Status cause = CommandFailedError("exit status 3", 3, 0, "");
  EXPECT_EQ(WorkFailedError(cause), cause);
}

TEST(ErrorsTest, WorkFailedKeepsACauseThatHasAReason) {
  EXPECT_EQ(WorkFailedError(KindNotLoadedError("reverse")), KindNotLoadedError("reverse"));
}

}  // namespace
}  // namespace jobpool
