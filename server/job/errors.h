#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "server/base/cancel_token.h"

namespace jobpool {

// The errors that callers can see, all of them made here. Each is a status whose
// payloads are google.rpc details under "type.googleapis.com/google.rpc.X":
// always one ErrorInfo (domain `jobpool`, a reason of jobpool.v1.ErrorReason),
// and beside it what proto/jobpool/v1/error_reason.proto says.

/// What is wrong with a request; `field` is its path there, `job.sleep.duration`.
struct FieldViolation {
  std::string field;
  std::string description;
};

/// The message names the first of them, the details as many as fit. REQUIRES:
/// `violations` is not empty.
absl::Status InvalidFieldsError(const std::vector<FieldViolation>& violations);

absl::Status JobNotFoundError(absl::string_view name);
absl::Status ThreadNotFoundError(absl::string_view name);
absl::Status PoolNotFoundError(absl::string_view name);
/// Of the health service.
absl::Status ServiceNotFoundError(absl::string_view name);
absl::Status JobExistsError(absl::string_view name);

/// `state`: which one it ended in, as jobpool.v1.Job.State spells it.
absl::Status JobEndedError(absl::string_view name, absl::string_view state);
absl::Status JobNotEndedError(absl::string_view name, absl::string_view state);

/// `state`: RUNNING, or the end that it is about to have.
absl::Status JobRunningError(absl::string_view name, absl::string_view state);
absl::Status EtagMismatchError(absl::string_view name, absl::string_view etag);

/// `name`: the job that was made for the request with other contents, or the place
/// of that request in the same batch.
absl::Status RequestIdReusedError(absl::string_view name);

/// `retry_delay`: when one place in the queue can be expected to be free.
absl::Status QueueFullError(absl::string_view pool, int64_t limit, absl::Duration retry_delay);
/// `limit`: bytes of payloads that all live jobs may hold together.
absl::Status PayloadsFullError(int64_t limit);
/// `limit`: how many request_ids are remembered; `retry_delay`: until there is room.
absl::Status RequestIdsFullError(int64_t limit, absl::Duration retry_delay);
/// `what`: of which there are already `limit`.
absl::Status TooManyCallsError(absl::string_view what, int64_t limit);
/// `subject`: the pool or kind, of which `limit` jobs a second may be submitted.
absl::Status RateReachedError(absl::string_view subject, double limit, absl::Duration retry_delay);
absl::Status PoolDrainingError(absl::string_view pool);
absl::Status ResumeTokenExpiredError();
/// `limit`: of events that its caller may leave unread.
absl::Status WatchTooSlowError(int64_t limit);
absl::Status ShuttingDownError();
/// `cause`: as the store said it.
absl::Status StoreUnavailableError(const absl::Status& cause);
absl::Status StoreDamagedError(const absl::Status& cause);
/// One of the two, as `cause` has it.
absl::Status StoreError(const absl::Status& cause);
/// `limit`: in bytes.
absl::Status StoreFullError(int64_t limit);
absl::Status NoDurableStoreError();
/// Of an attempt that ran when the server ended other than by a shutdown.
absl::Status ServerLostError();

/// Of an attempt whose process has given no answer: what is known of that.
absl::Status ProcessDiedError(absl::string_view what, int exit_status, int signal);
absl::Status CallCancelledError();

/// The reason in the status's ErrorInfo, as ErrorReason spells it; empty: it has none.
std::string ReasonOf(const absl::Status& status);

/// Why a job was CANCELLED. REQUIRES: `reason` is one of those that cancel.
absl::Status JobCancelledError(CancelReason reason);

// Why a job, or one attempt of it, FAILED.
absl::Status AttemptTimedOutError(absl::Duration timeout);
absl::Status DeadlinePassedError(absl::Time deadline_time);

/// A program has ended other than by exiting with status 0. `signal`: that ended it, 0: it
/// exited; `limit`: of its limits the one that it has, or seems to have, reached: `cpu`,
/// `file_size`, `memory`, `open_files` or "".
absl::Status CommandFailedError(absl::string_view message, int exit_status, int signal,
                                absl::string_view limit);
/// A job that was accepted is none any more that the server's list of commands allows.
absl::Status CommandNotAllowedError(absl::string_view name, absl::string_view why);

/// No plug-in has `kind`, that one had when the job was accepted.
absl::Status KindNotLoadedError(absl::string_view kind);

/// Why a job FAILED: `cause`, as the handler said it, if that has no reason of its own.
absl::Status WorkFailedError(const absl::Status& cause);

}  // namespace jobpool
