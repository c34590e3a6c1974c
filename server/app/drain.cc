#include "server/app/drain.h"

#include <algorithm>
#include <cerrno>
#include <poll.h>

#include <spdlog/spdlog.h>

#include "server/base/clock.h"
#include "server/telemetry/log.h"

namespace jobpool {
namespace {

constexpr absl::Duration kGrace = absl::Seconds(5);

// Waits until one of two descriptors is readable (-1: never), at most until
// `deadline`. Returns whether the first was.
bool AwaitEither(int first, int second, MonotonicTime deadline) {
  for (;;) {
    pollfd descriptors[] = {{first, POLLIN, 0}, {second, POLLIN, 0}};
    const absl::Duration left =
        absl::Ceil(absl::FromChrono(deadline - Clock::Real().Monotonic()), absl::Milliseconds(1));
    const int ready =
        poll(descriptors, 2, static_cast<int>(std::max<int64_t>(0, absl::ToInt64Milliseconds(left))));
    if (ready < 0 && errno == EINTR) continue;
    return descriptors[0].revents != 0;
  }
}

}  // namespace

void AwaitReadable(int descriptor, MonotonicTime deadline) { AwaitEither(descriptor, -1, deadline); }

JobDrain::JobDrain(Pipeline& pipeline) : pipeline_(pipeline), empty_(std::make_shared<Event>()) {
  pipeline_.Close([empty = empty_] { empty->Raise(); });
}

bool JobDrain::Await(absl::Duration timeout, int hurry) {
  const size_t left = pipeline_.control().LeaveKept();
  const size_t daemons = pipeline_.control().CancelWhere([](const LiveJob& job) { return job.daemon(); },
                                                         CancelReason::kInterrupted);
  const size_t later =
      pipeline_.control().CancelLaterThan(pipeline_.clock().Now() + timeout, CancelReason::kInterrupted);
  Log().info(
      "shutting down live_jobs={} jobs_left_on_disk={} daemon_jobs_cancelled={} "
      "jobs_cancelled_that_could_not_start={} drain_timeout={}s",
      pipeline_.live_jobs(), left, daemons, later, absl::ToDoubleSeconds(timeout));
  // Where no descriptor was to be had the event says nothing: the table does.
  if (pipeline_.empty() ||
      AwaitEither(empty_->descriptor(), hurry, Later(Clock::Real().Monotonic(), timeout)) ||
      pipeline_.empty()) {
    return true;
  }
  const size_t rest =
      pipeline_.control().CancelWhere([](const LiveJob&) { return true; }, CancelReason::kInterrupted);
  // None: of the last ones is still being told.
  if (rest > 0) Log().warn("jobs interrupted count={}", rest);
  if (AwaitEither(empty_->descriptor(), -1, Later(Clock::Real().Monotonic(), kGrace)) || pipeline_.empty())
    return true;
  if (const absl::Status health = pipeline_.store_health(); !health.ok()) {
    Log().error("jobs left whose ends the store has not taken, or that did not end count={} error=\"{}\"",
                pipeline_.live_jobs(), std::string(health.message()));
  } else {
    Log().error("jobs did not end when asked to count={}", pipeline_.live_jobs());
  }
  return false;
}

}  // namespace jobpool
