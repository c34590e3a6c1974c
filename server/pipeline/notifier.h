#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/base/clock.h"
#include "server/pipeline/job_reader.h"
#include "server/pipeline/live_job.h"
#include "server/pipeline/timer.h"

namespace jobpool {

/// Waits for several jobs at once. Ends exactly once, by the jobs' ends, by time, because
/// they are left to the next server, or by Abandon, and then says so.
class Join final : public Waiter, public std::enable_shared_from_this<Join> {
 public:
  enum class Mode : unsigned char { kAll, kAny };
  enum class Result : unsigned char { kEnded, kTimedOut, kLeft };

  /// Called once, not if abandoned, possibly before Start returns; on the thread
  /// that ended the last job, or on the timer's: be short, do not block.
  using Done = std::function<void(Result result)>;

  /// Waits for `jobs`, at most until `deadline` (without one for ever). `timer`
  /// outlives the join.
  static std::shared_ptr<Join> Start(Timer& timer, std::vector<JobHandle> jobs, Mode mode,
                                     std::optional<MonotonicTime> deadline, Done done);

  /// The caller has gone. Thread-safe.
  void Abandon();

  const std::vector<JobHandle>& jobs() const { return jobs_; }

  void OnJobEnd(const EndedJob& job) override;
  void OnJobLeft() override;

 private:
  friend class Notifier;

  Join(Timer& timer, std::vector<JobHandle> jobs, Mode mode, Done done);

  void Register(std::optional<MonotonicTime> deadline);
  void Finish(Result result, bool call_done);

  // Constant after construction.
  Timer& timer_;
  const std::vector<JobHandle> jobs_;
  const std::vector<LiveJob*> live_;  // those of jobs_ that were live, each once
  const bool has_ended_;              // whether one of jobs_ was not
  const Mode mode_;
  const Done done_;

  // How many ends are to come before it is satisfied.
  std::atomic<int64_t> missing_{0};
  // How many can still end here.
  std::atomic<int64_t> can_end_{0};
  std::atomic<bool> finished_{false};

  Mutex mu_;
  std::optional<Timer::Id> timeout_ ABSL_GUARDED_BY(mu_);
};

/// Lets callers wait for jobs. Thread-safe.
class Notifier {
 public:
  /// Both outlive it and its joins. `max_waits`: how many jobs may be waited for
  /// at a time, over all callers.
  Notifier(const JobReader& reader, Timer& timer, int64_t max_waits)
      : reader_(reader),
        timer_(timer),
        max_waits_(max_waits),
        waits_(std::make_shared<std::atomic<int64_t>>(0)) {}

  /// Starts a join. NOT_FOUND: there is no job of one of the ids;
  /// RESOURCE_EXHAUSTED: too many are waited for; then `done` is not called.
  absl::StatusOr<std::shared_ptr<Join>> Wait(const std::vector<std::string>& ids, Join::Mode mode,
                                             std::optional<MonotonicTime> deadline, Join::Done done);

  void set_max_waits(int64_t max_waits) { max_waits_.store(max_waits); }

  MonotonicTime Now() const { return timer_.Now(); }

 private:
  const JobReader& reader_;
  Timer& timer_;
  std::atomic<int64_t> max_waits_;
  const std::shared_ptr<std::atomic<int64_t>> waits_;  // shared with the joins, which count themselves out
};

}  // namespace jobpool
