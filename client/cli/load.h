#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "client/cli/latency_histogram.h"

// Calls made to measure a server: when they start, and what comes of them. Knows no gRPC.

namespace jobpool::cli {

/// When the calls of an open loop are due: `rate` of them a second, equally spaced, the
/// first at 0. By multiplication, so that no error adds up.
class LoadSchedule {
 public:
  /// REQUIRES: per_second > 0
  explicit LoadSchedule(double per_second) : per_second_(per_second) {}

  /// When the call with that number, from 0, is due.
  absl::Duration Due(int64_t number) const;

  /// How many are due before `end`.
  int64_t CountBefore(absl::Duration end) const;

 private:
  double per_second_;
};

/// What to do to the server.
struct LoadPlan {
  /// Open loop: so many starts a second. Unset: closed loop, in which each end starts the next call.
  std::optional<double> rate;
  /// At most so many calls in flight; in a closed loop always as many. 1 or more.
  size_t in_flight = 64;
  /// Calls that start, or are due, in the first of it are made and not counted.
  absl::Duration warmup = absl::ZeroDuration();
  /// After the warmup: how long calls are started, and how many, whichever is less.
  absl::Duration duration = absl::InfiniteDuration();
  int64_t count = INT64_MAX;
  /// How long the last answers are waited for; then what is in flight is cancelled.
  absl::Duration drain_timeout = absl::Seconds(10);
};

/// How a call failed.
struct CallFailure {
  bool of_job = false;  // the call was answered: its job did not succeed
  std::string code;     // of gRPC; of a job: its state
  std::string reason;   // of ErrorReason, or empty
  bool operator<(const CallFailure& other) const;
};

/// What came of one call.
struct CallEnd {
  std::optional<CallFailure> failure;
  /// The server cannot be reached: why not. Ends the measurement.
  absl::Status lost = absl::OkStatus();
};

/// Makes the calls. Must live until all have ended.
class LoadTarget {
 public:
  using Done = std::function<void(const CallEnd&)>;
  virtual ~LoadTarget() = default;
  /// Starts a call in `place`, from 0 and below LoadPlan::in_flight, where there is none. Calls `done`
  /// at its end, on any thread, when this has done all that it does. Thread-safe.
  virtual void Start(size_t place, Done done) = 0;
  /// Cancels the calls that are under way and those that are started later. Thread-safe.
  virtual void CancelAll() = 0;
};

/// What was measured. Of calls that count: those of the warmup are left out.
struct LoadFigures {
  int64_t scheduled = 0;  // open loop: were due; closed loop: as many as started
  int64_t started = 0;    // were sent; in an open loop the others of `scheduled` were missed
  int64_t late = 0;       // open loop: sent more than kLate after they were due
  absl::Duration max_delay = absl::ZeroDuration();  // open loop: the longest from due to sent
  int64_t succeeded = 0;
  int64_t failed = 0;
  std::map<CallFailure, int64_t> failures;  // sums up to `failed`
  int64_t unfinished = 0;                   // had no answer in time, and were cancelled
  /// From the begin to the last answer, the warmup left out.
  absl::Duration elapsed = absl::ZeroDuration();
  /// Of the calls that succeeded: from when they were due (closed loop: sent) to the answer.
  LatencyHistogram latency;
  /// The same from when they were sent.
  LatencyHistogram service_time;
  bool interrupted = false;
  absl::Status lost = absl::OkStatus();  // the server could not be reached any more
};

/// After this a start counts as late: more than a timer and a busy scheduler explain.
inline constexpr absl::Duration kLate = absl::Milliseconds(1);

/// How it stands while it runs; warmup included.
struct LoadProgress {
  absl::Duration elapsed;
  int64_t ended = 0;
  int64_t failed = 0;
  size_t in_flight = 0;
};

/// Sees how it stands, several times a second. False: stop, cancel what is in flight.
using KeepLoading = std::function<bool(const LoadProgress&)>;

/// Carries out `plan`, and returns when all calls have ended.
LoadFigures RunLoad(const LoadPlan& plan, LoadTarget& target, const KeepLoading& keep_loading);

}  // namespace jobpool::cli
