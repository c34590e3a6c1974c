#include "server/pipeline/live_job.h"

#include <atomic>
#include <iterator>
#include <latch>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "tests/support/job_builder.h"

namespace jobpool {
namespace {

class CountingWaiter final : public Waiter {
 public:
  void OnJobEnd(const EndedJob&) override {}
};

constexpr JobState kEnds[] = {JobState::kSucceeded, JobState::kFailed, JobState::kCancelled};

size_t CountOf(const Waiters& waiters) {
  return static_cast<size_t>(std::distance(waiters.begin(), waiters.end()));
}

bool EndIt(LiveJob& job, JobState from, JobState end, Waiters* waiters) {
  return job.End(from, end, {}, MakeOutcome(absl::UnixEpoch()), waiters);
}

TEST(LiveJobTest, EndsOnlyFromTheStateThatWasMeant) {
  Waiters waiters;
  const auto job = MakeJob("j");
  EXPECT_FALSE(EndIt(*job, JobState::kRunning, JobState::kSucceeded, &waiters));
  EXPECT_EQ(job->Snapshot().record.state, JobState::kQueued);
  ASSERT_TRUE(job->Start(Attempt(), std::make_shared<RunControl>()));
  EXPECT_FALSE(job->Start(Attempt(), std::make_shared<RunControl>()));
  EXPECT_FALSE(EndIt(*job, JobState::kQueued, JobState::kCancelled, &waiters));
  EXPECT_EQ(job->Snapshot().record.state, JobState::kRunning);
  EXPECT_TRUE(EndIt(*job, JobState::kRunning, JobState::kSucceeded, &waiters));
  for (const JobState end : kEnds) {
    EXPECT_FALSE(EndIt(*job, JobState::kRunning, end, &waiters));
    EXPECT_FALSE(EndIt(*job, JobState::kSucceeded, end, &waiters));
  }
  EXPECT_EQ(job->Snapshot().record.state, JobState::kSucceeded);
}

TEST(LiveJobTest, AskToEndReachesARunningJobAlone) {
  const auto job = MakeJob("j");
  EXPECT_EQ(job->AskToEnd(CancelReason::kRequested), JobState::kQueued);
  const auto control = std::make_shared<RunControl>();
  ASSERT_TRUE(job->Start(Attempt(), control));
  EXPECT_FALSE(control->cancel.cancelled());
  EXPECT_EQ(job->AskToEnd(CancelReason::kCallerGone), JobState::kRunning);
  EXPECT_EQ(job->AskToEnd(CancelReason::kRequested), JobState::kRunning);
  EXPECT_EQ(control->cancel.reason(), CancelReason::kCallerGone);
  Waiters waiters;
  ASSERT_TRUE(EndIt(*job, JobState::kRunning, JobState::kCancelled, &waiters));
  EXPECT_EQ(job->AskToEnd(CancelReason::kRequested), JobState::kCancelled);
}

TEST(LiveJobTest, ShowsProgressWhileItRunsAndKeepsTheLast) {
  const auto job = MakeJob("j");
  EXPECT_FALSE(job->Snapshot().progress.has_value());
  const auto control = std::make_shared<RunControl>();
  ASSERT_TRUE(job->Start(Attempt(), control));
  EXPECT_FALSE(job->Snapshot().progress.has_value());
  control->progress.Set(0.5, "half");
  EXPECT_EQ(job->Snapshot().progress->message, "half");
  Waiters waiters;
  ASSERT_TRUE(EndIt(*job, JobState::kRunning, JobState::kCancelled, &waiters));
  control->progress.Set(0.7, "too late");
  EXPECT_EQ(job->Snapshot().progress->message, "half");
  EXPECT_EQ(LiveJob::Ended(job)->outcome->progress->ratio, 0.5);
}

TEST(LiveJobTest, EndHandsOverThoseThatWait) {
  const auto job = MakeJob("j");
  const auto first = std::make_shared<CountingWaiter>();
  const auto second = std::make_shared<CountingWaiter>();
  EXPECT_TRUE(job->AddWaiter(first));
  EXPECT_TRUE(job->AddWaiter(second));
  EXPECT_TRUE(job->AddWaiter(first));
  Waiters waiters;
  ASSERT_TRUE(EndIt(*job, JobState::kQueued, JobState::kCancelled, &waiters));
  EXPECT_EQ(CountOf(waiters), 3u);
  EXPECT_FALSE(job->AddWaiter(first));
  waiters.clear();
  EXPECT_EQ(first.use_count(), 1);
}

TEST(LiveJobTest, RemoveWaiterTakesAllOfOne) {
  const auto job = MakeJob("j");
  const auto gone = std::make_shared<CountingWaiter>();
  const auto stays = std::make_shared<CountingWaiter>();
  for (const auto& waiter : {gone, stays, gone, gone, stays, gone}) job->AddWaiter(waiter);
  job->RemoveWaiter(gone.get());
  job->RemoveWaiter(gone.get());
  EXPECT_EQ(gone.use_count(), 1);
  Waiters waiters;
  ASSERT_TRUE(EndIt(*job, JobState::kQueued, JobState::kCancelled, &waiters));
  EXPECT_EQ(CountOf(waiters), 2u);
  for (const auto& waiter : waiters) EXPECT_EQ(waiter, stays);
}

TEST(LiveJobTest, UpdatesOptionsUntilItHasEnded) {
  const auto job = MakeJob("j");
  const JobSnapshot before = job->Snapshot();
  const auto updated = job->UpdateOptions([](JobOptions& options) { options.display_name = "new"; });
  ASSERT_TRUE(updated.has_value());
  EXPECT_EQ(updated->record.DisplayName(), "new");
  EXPECT_EQ(job->DisplayName(), "new");
  EXPECT_EQ(before.record.DisplayName(), "Job-0");  // others keep what they saw
  Waiters waiters;
  ASSERT_TRUE(EndIt(*job, JobState::kQueued, JobState::kCancelled, &waiters));
  EXPECT_FALSE(job->UpdateOptions([](JobOptions&) { FAIL() << "changed after the end"; }).has_value());
}

TEST(LiveJobTest, TheFinalRecordKeepsTheJob) {
  auto job = MakeJob("j");
  Waiters waiters;
  ASSERT_TRUE(EndIt(*job, JobState::kQueued, JobState::kCancelled, &waiters));
  const EndedJob ended = LiveJob::Ended(job);
  job.reset();
  EXPECT_EQ(ended->id, "j");
  EXPECT_EQ(ended->state, JobState::kCancelled);
}

// A worker and several cancellers race for the end: one gets it.
TEST(LiveJobTest, EndsOnceOverThreads) {
  for (int round = 0; round < 300; ++round) {
    const auto job = MakeJob("j");
    std::atomic<int> ends{0};
    std::latch start(3);
    std::vector<std::thread> threads;
    threads.emplace_back([&] {
      start.arrive_and_wait();
      Waiters waiters;
      if (job->Start(Attempt(), std::make_shared<RunControl>())) {
        ends += EndIt(*job, JobState::kRunning, JobState::kSucceeded, &waiters);
      }
    });
    for (int t = 0; t < 2; ++t) {
      threads.emplace_back([&] {
        start.arrive_and_wait();
        Waiters waiters;
        ends += EndIt(*job, JobState::kQueued, JobState::kCancelled, &waiters);
      });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(ends, 1);
    EXPECT_TRUE(IsEnded(job->Snapshot().record.state));
  }
}

}  // namespace
}  // namespace jobpool
