// The loops of `bench`, against calls that end as the test says.

#include <atomic>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <random>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "absl/time/clock.h"
#include "client/cli/load.h"

namespace jobpool::cli {
namespace {

CallEnd Failure(const std::string& code, const std::string& reason) {
  CallEnd end;
  end.failure.emplace();
  end.failure->code = code;
  end.failure->reason = reason;
  return end;
}

TEST(LoadScheduleTest, CallsAreEquallySpaced) {
  const LoadSchedule schedule(200);
  EXPECT_EQ(schedule.Due(0), absl::ZeroDuration());
  EXPECT_EQ(schedule.Due(1), absl::Milliseconds(5));
  EXPECT_EQ(schedule.Due(400), absl::Seconds(2));
  EXPECT_EQ(schedule.CountBefore(absl::Seconds(2)), 400);
  EXPECT_EQ(schedule.CountBefore(absl::Seconds(2) + absl::Nanoseconds(1)), 401);
  EXPECT_EQ(schedule.CountBefore(absl::ZeroDuration()), 0);
  EXPECT_EQ(schedule.CountBefore(absl::InfiniteDuration()), INT64_MAX);
  EXPECT_EQ(LoadSchedule(0.5).CountBefore(absl::Seconds(1)), 1);
  EXPECT_EQ(LoadSchedule(1e6).CountBefore(absl::Hours(24)), 86'400'000'000);
}

TEST(LoadScheduleTest, CountsExactlyTheCallsThatAreDueBefore) {
  std::mt19937_64 random(1);
  for (int i = 0; i < 10'000; ++i) {
    const LoadSchedule schedule(std::uniform_real_distribution<double>(0.001, 1e6)(random));
    const absl::Duration end = absl::Seconds(std::uniform_real_distribution<double>(0, 1000)(random));
    const int64_t count = schedule.CountBefore(end);
    EXPECT_GE(schedule.Due(count), end);
    if (count > 0) {
      EXPECT_LT(schedule.Due(count - 1), end);
    }
  }
}

/// A thread ends the calls in the order in which they came, once `holds` lets it. What a call's end is,
/// `end_of` says by its number.
class FakeTarget : public LoadTarget {
 public:
  using EndOf = std::function<CallEnd(int64_t number)>;

  explicit FakeTarget(EndOf end_of = [](int64_t) { return CallEnd(); })
      : end_of_(std::move(end_of)), thread_([this] { EndCalls(); }) {}

  ~FakeTarget() override {
    {
      const std::lock_guard lock(mu_);
      closed_ = true;
    }
    changed_.notify_one();
    thread_.join();
    EXPECT_TRUE(calls_.empty());
  }

  void Start(size_t place, Done done) override {
    {
      const std::lock_guard lock(mu_);
      if (places_.size() <= place) places_.resize(place + 1);
      EXPECT_FALSE(places_[place]) << "two calls in place " << place;
      places_[place] = true;
      calls_.push_back({place, started_++, std::move(done)});
      most_ = std::max(most_, calls_.size());
    }
    changed_.notify_one();
  }

  void CancelAll() override {
    {
      const std::lock_guard lock(mu_);
      cancelled_ = true;
    }
    changed_.notify_one();
  }

  /// No call ends before so many have started, unless they are cancelled.
  void HoldUntil(int64_t started) {
    const std::lock_guard lock(mu_);
    holds_until_ = started;
  }
  void Hold() { HoldUntil(INT64_MAX); }

  int64_t started() {
    const std::lock_guard lock(mu_);
    return started_;
  }
  size_t most() {
    const std::lock_guard lock(mu_);
    return most_;
  }

 private:
  struct Call {
    size_t place;
    int64_t number;
    Done done;
  };

  void EndCalls() {
    std::unique_lock lock(mu_);
    while (true) {
      changed_.wait(
          lock, [this] { return closed_ || (!calls_.empty() && (started_ >= holds_until_ || cancelled_)); });
      if (calls_.empty()) return;
      const bool cancelled = cancelled_;
      Call call = std::move(calls_.front());
      calls_.pop_front();
      places_[call.place] = false;
      lock.unlock();
      call.done(cancelled ? Failure("CANCELLED", "") : end_of_(call.number));
      lock.lock();
    }
  }

  const EndOf end_of_;
  std::mutex mu_;
  std::condition_variable changed_;
  // Guarded by mu_.
  std::deque<Call> calls_;
  std::vector<bool> places_;
  int64_t started_ = 0;
  size_t most_ = 0;
  int64_t holds_until_ = 0;
  bool cancelled_ = false;
  bool closed_ = false;
  std::thread thread_;  // last: what it uses is there
};

bool GoOn(const LoadProgress&) { return true; }

LoadPlan Plan(size_t in_flight, int64_t count) {
  LoadPlan plan;
  plan.in_flight = in_flight;
  plan.count = count;
  return plan;
}

LoadPlan OpenPlan(double rate, size_t in_flight, int64_t count) {
  LoadPlan plan = Plan(in_flight, count);
  plan.rate = rate;
  return plan;
}

TEST(LoadTest, AClosedLoopStartsAsManyAsAskedForAndNoMoreAtATime) {
  FakeTarget target;
  const LoadFigures figures = RunLoad(Plan(8, 1000), target, GoOn);
  EXPECT_EQ(target.started(), 1000);
  EXPECT_LE(target.most(), 8u);
  EXPECT_EQ(figures.scheduled, 1000);
  EXPECT_EQ(figures.started, 1000);
  EXPECT_EQ(figures.succeeded, 1000);
  EXPECT_EQ(figures.failed + figures.unfinished + figures.late, 0);
  EXPECT_EQ(figures.latency.count(), 1000);
  EXPECT_EQ(figures.latency.Max(), figures.service_time.Max());
  EXPECT_LE(figures.latency.Max(), figures.elapsed);
}

TEST(LoadTest, AClosedLoopKeepsAllPlacesFilled) {
  FakeTarget target;
  target.Hold();
  EXPECT_EQ(RunLoad(Plan(8, 1000), target, [](const LoadProgress&) { return false; }).started, 8);
  EXPECT_EQ(target.most(), 8u);
}

TEST(LoadTest, FewerCallsThanPlaces) {
  FakeTarget target;
  EXPECT_EQ(RunLoad(Plan(64, 3), target, GoOn).succeeded, 3);
  EXPECT_EQ(target.started(), 3);
}

TEST(LoadTest, AClosedLoopEndsWithItsDuration) {
  FakeTarget target;
  LoadPlan plan = Plan(2, INT64_MAX);
  plan.duration = absl::Milliseconds(50);
  const LoadFigures figures = RunLoad(plan, target, GoOn);
  EXPECT_EQ(figures.succeeded, target.started());
  EXPECT_FALSE(figures.interrupted);
}

TEST(LoadTest, TheWarmupDoesNotCount) {
  FakeTarget target;
  LoadPlan plan = OpenPlan(1000, 10'000, 20);
  plan.warmup = absl::Milliseconds(30);
  const LoadFigures figures = RunLoad(plan, target, GoOn);
  EXPECT_EQ(target.started(), 50);
  EXPECT_EQ(figures.scheduled, 20);
  EXPECT_EQ(figures.started, 20);
  EXPECT_EQ(figures.succeeded, 20);
  EXPECT_EQ(figures.latency.count(), 20);

  FakeTarget closed;
  plan.rate.reset();
  plan.in_flight = 1;
  EXPECT_EQ(RunLoad(plan, closed, GoOn).succeeded, 20);
  EXPECT_GE(closed.started(), 20);
}

TEST(LoadTest, AnOpenLoopStartsWhatTheScheduleSays) {
  FakeTarget target;
  LoadPlan plan = OpenPlan(2000, 10'000, INT64_MAX);
  plan.duration = absl::Milliseconds(100);
  const LoadFigures figures = RunLoad(plan, target, GoOn);
  EXPECT_EQ(target.started(), 200);
  EXPECT_EQ(figures.scheduled, 200);
  EXPECT_EQ(figures.succeeded, 200);
  EXPECT_GE(figures.elapsed, absl::Milliseconds(99.5)) << "the last is due then";
}

TEST(LoadTest, AnOpenLoopDoesNotWaitForAnswers) {
  FakeTarget target;
  target.HoldUntil(100);
  const LoadFigures figures = RunLoad(OpenPlan(1000, 10'000, 100), target, GoOn);
  EXPECT_EQ(target.most(), 100u);
  EXPECT_EQ(figures.succeeded, 100);
}

TEST(LoadTest, WhatWasHeldUpShowsTheWait) {
  // Of five calls, due at 0 to 4 ms with one place, the first takes 100 ms.
  FakeTarget target([](int64_t number) {
    if (number == 0) absl::SleepFor(absl::Milliseconds(100));
    return CallEnd();
  });
  const LoadFigures figures = RunLoad(OpenPlan(1000, 1, 5), target, GoOn);
  EXPECT_EQ(figures.succeeded, 5);
  EXPECT_GE(figures.late, 4);
  EXPECT_GE(figures.latency.Min(), absl::Milliseconds(96)) << "of the last, if all others took no time";
  EXPECT_GE(figures.max_delay, absl::Milliseconds(99));
  // Each of the four was sent 96 ms or more after it was due.
  EXPECT_GE(figures.latency.Mean() - figures.service_time.Mean(), absl::Milliseconds(4 * 96 / 5));
}

TEST(LoadTest, WhatCouldNotBeSentWasMissed) {
  FakeTarget target;
  target.Hold();
  LoadPlan plan = OpenPlan(1000, 2, 10);
  plan.drain_timeout = absl::Seconds(1);
  const LoadFigures figures = RunLoad(plan, target, GoOn);
  EXPECT_EQ(figures.scheduled, 10);
  EXPECT_EQ(figures.started, 2);
  EXPECT_EQ(figures.unfinished, 2);
  EXPECT_EQ(figures.succeeded + figures.failed, 0);
  EXPECT_FALSE(figures.interrupted);
}

TEST(LoadTest, AnInterruptCancelsWhatIsInFlight) {
  FakeTarget target;
  target.Hold();
  LoadPlan plan = OpenPlan(10, 10'000, 1'000'000);
  const LoadFigures figures = RunLoad(plan, target, [](const LoadProgress&) { return false; });
  EXPECT_TRUE(figures.interrupted);
  EXPECT_GE(figures.started, 1);
  EXPECT_EQ(figures.unfinished, figures.started);
  EXPECT_LT(figures.scheduled, 1'000'000) << "those due later were not missed";
}

TEST(LoadTest, FailuresAreCountedByWhatTheyAre) {
  FakeTarget target([](int64_t number) {
    if (number % 4 == 1) return Failure("RESOURCE_EXHAUSTED", "QUEUE_FULL");
    if (number % 4 == 2) return Failure("RESOURCE_EXHAUSTED", "RATE_REACHED");
    CallEnd end;
    if (number % 4 == 3) {
      end = Failure("FAILED", "");
      end.failure->of_job = true;
    }
    return end;
  });
  const LoadFigures figures = RunLoad(Plan(4, 400), target, GoOn);
  EXPECT_EQ(figures.succeeded, 100);
  EXPECT_EQ(figures.failed, 300);
  EXPECT_EQ(figures.latency.count(), 100);
  ASSERT_EQ(figures.failures.size(), 3u);
  for (const auto& [failure, count] : figures.failures) EXPECT_EQ(count, 100) << failure.reason;
}

TEST(LoadTest, AServerThatIsGoneEndsIt) {
  FakeTarget target([](int64_t number) {
    if (number < 3) return CallEnd();
    CallEnd end = Failure("UNAVAILABLE", "");
    end.lost = absl::UnavailableError("gone");
    return end;
  });
  const LoadFigures figures = RunLoad(Plan(1, 1000), target, GoOn);
  EXPECT_EQ(figures.lost, absl::UnavailableError("gone"));
  EXPECT_EQ(target.started(), 4);
  EXPECT_EQ(figures.succeeded, 3);
  EXPECT_EQ(figures.failed, 1);
}

}  // namespace
}  // namespace jobpool::cli
