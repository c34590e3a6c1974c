#include "client/cli/load.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <condition_variable>
#include <mutex>
#include <sys/prctl.h>
#include <tuple>
#include <vector>

namespace jobpool::cli {
namespace {

using Steady = std::chrono::steady_clock;

/// How often the caller is asked whether to go on.
constexpr absl::Duration kTick = absl::Milliseconds(100);

/// Timers of this thread at their time, while it lives, and not up to 50 us later (prctl(2),
/// PR_SET_TIMERSLACK): that would be part of each latency.
class ExactTimers {
 public:
  ExactTimers() : before_(prctl(PR_GET_TIMERSLACK)) { prctl(PR_SET_TIMERSLACK, 1UL); }
  ~ExactTimers() { prctl(PR_SET_TIMERSLACK, static_cast<unsigned long>(before_)); }
  ExactTimers(const ExactTimers&) = delete;
  ExactTimers& operator=(const ExactTimers&) = delete;

 private:
  const int before_;
};

/// One measurement. All times are counted from its begin. In an open loop the caller's thread starts the
/// calls; in a closed one each is started where the one before it ended.
class Load {
 public:
  Load(const LoadPlan& plan, LoadTarget& target, const KeepLoading& keep_loading)
      : plan_(plan),
        target_(target),
        keep_loading_(keep_loading),
        schedule_(plan.rate.value_or(1)),
        sending_ends_(plan.warmup + plan.duration) {
    if (!plan_.rate) return;
    not_counted_ = schedule_.CountBefore(plan_.warmup);
    const int64_t counted = schedule_.CountBefore(sending_ends_) - not_counted_;
    end_ = not_counted_ + std::min(counted, plan_.count);
    sending_ends_ = schedule_.Due(end_);
  }

  LoadFigures Run() {
    const ExactTimers timers;
    begin_ = Steady::now();
    if (plan_.rate) {
      // The last is the one that is taken first.
      for (size_t place = plan_.in_flight; place > 0; --place) free_.push_back(place - 1);
    } else {
      for (size_t place = 0; place < plan_.in_flight; ++place) StartFirst(place);
    }
    Steer();
    return Finish();
  }

 private:
  struct Call {
    absl::Duration due;
    absl::Duration sent;
    bool counted;
  };

  absl::Duration Now() const { return absl::FromChrono(Steady::now() - begin_); }

  void Start(size_t place, const Call& call) {
    target_.Start(place, [this, place, call](const CallEnd& end) { End(place, call, end); });
  }

  /// The first call of a place of a closed loop.
  void StartFirst(size_t place) {
    Call call{};
    {
      const std::lock_guard lock(mu_);
      if (!TakeNext(Now(), call)) return;
      ++in_flight_;
    }
    Start(place, call);
  }

  /// Whether a closed loop starts another call, and which. REQUIRES: mu_
  bool TakeNext(absl::Duration now, Call& call) {
    if (stopped_ || now >= sending_ends_) return false;
    if (figures_.started >= plan_.count) {
      sending_ends_ = now;
      return false;
    }
    call = {.due = now, .sent = now, .counted = now >= plan_.warmup};
    if (call.counted) ++figures_.started;
    return true;
  }

  void End(size_t place, const Call& call, const CallEnd& end) {
    Call next{};
    {
      const std::lock_guard lock(mu_);
      const absl::Duration now = Now();
      Record(call, end, now);
      if (plan_.rate || !TakeNext(now, next)) {
        free_.push_back(place);
        --in_flight_;
        if (in_flight_ == 0 || waits_for_place_) changed_.notify_one();
        return;
      }
    }
    Start(place, next);
  }

  /// REQUIRES: mu_
  void Record(const Call& call, const CallEnd& end, absl::Duration now) {
    ++ended_;
    if (end.failure) ++failed_;
    if (!end.lost.ok() && !stopped_) {
      figures_.lost = end.lost;
      Stop(now);
    }
    if (!call.counted) return;
    last_end_ = now;
    if (!end.failure) {
      ++figures_.succeeded;
      figures_.latency.Record(now - call.due);
      figures_.service_time.Record(now - call.sent);
    } else if (cancelled_ && !end.failure->of_job && end.failure->code == "CANCELLED") {
      ++figures_.unfinished;
    } else {
      ++figures_.failed;
      ++figures_.failures[*end.failure];
    }
  }

  /// No call is started any more. REQUIRES: mu_
  void Stop(absl::Duration now) {
    stopped_ = true;
    if (plan_.rate) end_ = std::max(next_, std::min(end_, schedule_.CountBefore(now)));
    sending_ends_ = std::min(sending_ends_, now);
  }

  /// On the caller's thread, until all calls have ended.
  void Steer() {
    std::unique_lock lock(mu_);
    absl::Duration tick = Now() + kTick;
    while (true) {
      const absl::Duration now = Now();
      const bool gives_up = now >= sending_ends_ + plan_.drain_timeout;
      if ((gives_up || figures_.interrupted) && !cancelled_) {
        Stop(now);
        cancelled_ = true;
        lock.unlock();
        target_.CancelAll();
        lock.lock();
        continue;
      }
      const bool sends = plan_.rate && !stopped_ && next_ < end_;
      if (!sends && in_flight_ == 0) return;
      if (now >= tick) {
        const LoadProgress progress{
            .elapsed = now, .ended = ended_, .failed = failed_, .in_flight = in_flight_};
        lock.unlock();
        const bool goes_on = keep_loading_(progress);
        lock.lock();
        if (!goes_on) figures_.interrupted = true;
        tick = now + kTick;
        continue;
      }
      const absl::Duration due = sends ? schedule_.Due(next_) : absl::InfiniteDuration();
      if (due <= now && !free_.empty()) {
        StartDue(lock, due, now);
        continue;
      }
      waits_for_place_ = due <= now;
      const absl::Duration wake = waits_for_place_ ? tick : std::min(tick, due);
      changed_.wait_until(lock, begin_ + absl::ToChronoNanoseconds(wake));
    }
  }

  /// The next call of an open loop.
  void StartDue(std::unique_lock<std::mutex>& lock, absl::Duration due, absl::Duration now) {
    const size_t place = free_.back();
    free_.pop_back();
    ++in_flight_;
    const Call call{.due = due, .sent = now, .counted = next_ >= not_counted_};
    ++next_;
    if (call.counted) {
      ++figures_.started;
      if (now - due > kLate) ++figures_.late;
      figures_.max_delay = std::max(figures_.max_delay, now - due);
    }
    lock.unlock();
    Start(place, call);
    lock.lock();
  }

  LoadFigures Finish() {
    const std::lock_guard lock(mu_);
    figures_.scheduled = plan_.rate ? std::max(end_ - not_counted_, int64_t{0}) : figures_.started;
    figures_.elapsed = std::max(last_end_ - plan_.warmup, absl::ZeroDuration());
    return std::move(figures_);
  }

  const LoadPlan& plan_;
  LoadTarget& target_;
  const KeepLoading& keep_loading_;
  const LoadSchedule schedule_;
  Steady::time_point begin_;  // constant once calls start
  int64_t not_counted_ = 0;   // open loop: calls of the warmup; constant after construction

  std::mutex mu_;
  std::condition_variable changed_;
  // Guarded by mu_.
  absl::Duration sending_ends_;  // no call is due, or in a closed loop started, after that
  int64_t next_ = 0;             // open loop: number of the next call
  int64_t end_ = 0;              // open loop: number after the last call
  std::vector<size_t> free_;     // places without a call
  size_t in_flight_ = 0;
  bool stopped_ = false;          // nothing is started any more
  bool cancelled_ = false;        // CancelAll was, or is about to be, called
  bool waits_for_place_ = false;  // a call is due and has none
  int64_t ended_ = 0;             // with those of the warmup
  int64_t failed_ = 0;            // with those of the warmup
  absl::Duration last_end_;       // of a call that counts
  LoadFigures figures_;
};

}  // namespace

bool CallFailure::operator<(const CallFailure& other) const {
  return std::tie(of_job, code, reason) < std::tie(other.of_job, other.code, other.reason);
}

absl::Duration LoadSchedule::Due(int64_t number) const {
  return absl::Seconds(static_cast<double>(number) / per_second_);
}

int64_t LoadSchedule::CountBefore(absl::Duration end) const {
  if (end <= absl::ZeroDuration()) return 0;
  const double about = absl::ToDoubleSeconds(end) * per_second_;
  if (about > 1e15) return INT64_MAX;  // beyond that doubles do not know each number
  auto count = static_cast<int64_t>(about);
  while (count > 0 && Due(count - 1) >= end) --count;
  while (Due(count) < end) ++count;
  return count;
}

LoadFigures RunLoad(const LoadPlan& plan, LoadTarget& target, const KeepLoading& keep_loading) {
  return Load(plan, target, keep_loading).Run();
}

}  // namespace jobpool::cli
