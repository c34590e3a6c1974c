#include "server/pipeline/live_job.h"

#include <atomic>
#include <iterator>
#include <latch>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "tests/support/job_builder.h"

namespace jobpool {
namespace {

class CountingWaiter final : public Waiter {
 public:
  void OnJobEnd(const EndedJob&) override {}
  void OnJobLeft() override {}
};

constexpr JobState kEnds[] = {JobState::kSucceeded, JobState::kFailed, JobState::kCancelled};

bool EndIt(LiveJob& job, JobState from, JobState end, Waiters* waiters) {
  const EndedJob ended = job.BeginEnd(from, end, {}, MakeOutcome(absl::UnixEpoch()));
  if (ended == nullptr) return false;
  *waiters = job.FinishEnd(ended);
  return true;
}

const absl::Time kNow = absl::FromUnixSeconds(1000);

TEST(LiveJobTest, LooksAsBeforeUntilItsEndIsFinished) {
  const auto job = MakeJob("j");
  const auto waiter = std::make_shared<CountingWaiter>();
  const EndedJob ended =
      job->BeginEnd(JobState::kQueued, JobState::kCancelled, {}, MakeOutcome(absl::UnixEpoch()));
  ASSERT_NE(ended, nullptr);
  EXPECT_EQ(ended->state, JobState::kCancelled);
  EXPECT_EQ(job->Snapshot().record.state, JobState::kQueued);
  EXPECT_EQ(job->EndState(), JobState::kCancelled);
  EXPECT_FALSE(job->Start(Attempt(), std::make_shared<RunControl>()));
  EXPECT_FALSE(job->Update([](JobRecord&) { return true; }).has_value());
  EXPECT_EQ(job->BeginEnd(JobState::kQueued, JobState::kFailed, {}, MakeOutcome(absl::UnixEpoch())), nullptr);
  EXPECT_EQ(job->AddWaiter(waiter), LiveJob::Await::kAdded);
  EXPECT_EQ(job->FinishEnd(ended).size(), 1u);
  EXPECT_EQ(job->Snapshot().record.state, JobState::kCancelled);
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
  EXPECT_EQ(job->AskToEnd(CancelReason::kRequested, kNow).state, JobState::kQueued);
  const auto control = std::make_shared<RunControl>();
  ASSERT_TRUE(job->Start(Attempt(), control));
  EXPECT_FALSE(control->cancel.cancelled());
  EXPECT_EQ(job->AskToEnd(CancelReason::kCallerGone, kNow).state, JobState::kRunning);
  EXPECT_EQ(job->AskToEnd(CancelReason::kRequested, kNow).state, JobState::kRunning);
  EXPECT_EQ(control->cancel.reason(), CancelReason::kCallerGone);
  Waiters waiters;
  ASSERT_TRUE(EndIt(*job, JobState::kRunning, JobState::kCancelled, &waiters));
  EXPECT_EQ(job->AskToEnd(CancelReason::kRequested, kNow).state, JobState::kCancelled);
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
  EXPECT_EQ(job->Snapshot().record.outcome->progress->ratio, 0.5);
}

TEST(LiveJobTest, EndHandsOverThoseThatWait) {
  const auto job = MakeJob("j");
  const auto first = std::make_shared<CountingWaiter>();
  const auto second = std::make_shared<CountingWaiter>();
  EXPECT_EQ(job->AddWaiter(first), LiveJob::Await::kAdded);
  EXPECT_EQ(job->AddWaiter(second), LiveJob::Await::kAdded);
  Waiters waiters;
  ASSERT_TRUE(EndIt(*job, JobState::kQueued, JobState::kCancelled, &waiters));
  EXPECT_EQ(waiters.size(), 2u);
  EXPECT_EQ(job->AddWaiter(first), LiveJob::Await::kEnded);
  waiters.clear();
  EXPECT_EQ(first.use_count(), 1);
}

TEST(LiveJobTest, RemoveWaiterTakesThatOne) {
  const auto job = MakeJob("j");
  const auto gone = std::make_shared<CountingWaiter>();
  const auto stays = std::make_shared<CountingWaiter>();
  for (const auto& waiter : {gone, stays}) job->AddWaiter(waiter);
  job->RemoveWaiter(gone.get());
  job->RemoveWaiter(gone.get());
  EXPECT_EQ(gone.use_count(), 1);
  Waiters waiters;
  ASSERT_TRUE(EndIt(*job, JobState::kQueued, JobState::kCancelled, &waiters));
  ASSERT_EQ(waiters.size(), 1u);
  EXPECT_EQ(waiters.begin()->second, stays);
}

TEST(LiveJobTest, IsUpdatedUntilItHasEnded) {
  const auto job = MakeJob("j");
  const JobSnapshot before = job->Snapshot();
  const auto updated = job->Update([](JobRecord& record) {
    auto options = std::make_shared<JobOptions>();
    options->display_name = "new";
    record.options = std::move(options);
    return true;
  });
  ASSERT_TRUE(updated.has_value());
  EXPECT_EQ(updated->record.DisplayName(), "new");
  EXPECT_EQ(job->DisplayName(), "new");
  EXPECT_EQ(before.record.DisplayName(),
            absl::StrCat("Job-", before.record.number));  // others keep what they saw
  Waiters waiters;
  ASSERT_TRUE(EndIt(*job, JobState::kQueued, JobState::kCancelled, &waiters));
  EXPECT_FALSE(job->Update([](JobRecord&) { return true; }).has_value());
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
