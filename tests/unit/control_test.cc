// What callers do to a job in the very moment in which it starts or ends. The
// moments are held by the log, between two steps of a worker, and by the store.

#include "server/pipeline/control.h"

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tests/support/error_details.h"
#include "tests/support/eventually.h"
#include "tests/support/metric_reader.h"
#include "tests/support/test_pipeline.h"

namespace jobpool {
namespace {

class ControlRaceTest : public ::testing::Test {
 protected:
  // Runs `act` once, on the worker that takes the next job, between its look at
  // the job and the job's start: there it asks for the time.
  void WhileStarting(std::function<void()> act) { clock_.on_worker_now = std::move(act); }

  void WhileEnding(const std::string& id, std::function<void()> act) {
    on_line_ = [id, act = std::move(act), acted = false](const std::string& line) mutable {
      if (absl::StartsWith(line, absl::StrCat("job ended job=jobs/", id, " ")) &&
          !std::exchange(acted, true)) {
        act();
      }
    };
  }

  std::function<void(const std::string&)> on_line_;  // set before a job is submitted
  LogHook hook_{"debug", [this](const std::string& line) {
                  if (on_line_) on_line_(line);
                }};
  class WorkersClock final : public Clock {
   public:
    absl::Time Now() const override {
      if (RegisteredThread::Current() != nullptr && on_worker_now) std::exchange(on_worker_now, nullptr)();
      return Clock::Real().Now();
    }
    MonotonicTime Monotonic() const override { return Clock::Real().Monotonic(); }
    void WaitUntil(CondVar& cv, Mutex& mu, MonotonicTime deadline) const override
        ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu) {
      Clock::Real().WaitUntil(cv, mu, deadline);
    }

    mutable std::function<void()> on_worker_now;  // set before a job is submitted
  };

  WorkersClock clock_;
  TestPipeline pipeline_{TestPipeline::Options(), clock_};
};

TEST_F(ControlRaceTest, ACancelMeetsAJobThatAWorkerHasTaken) {
  absl::StatusOr<std::shared_ptr<LiveJob>> cancelled = absl::UnknownError("not called");
  WhileStarting([&] { cancelled = pipeline_->control().Cancel("mine"); });
  pipeline_.Submit(SleepSpec(absl::Hours(1), "mine"));
  const JobRecord record = pipeline_.AwaitEnd("mine").record;
  EXPECT_EQ(record.state, JobState::kCancelled);
  EXPECT_TRUE(record.attempts.empty());
  pipeline_->Stop();  // from here on the worker is done with `cancelled`
  ASSERT_TRUE(cancelled.ok());
  EXPECT_EQ((*cancelled)->Snapshot().record.state, JobState::kCancelled);
  EXPECT_EQ(pipeline_->pools().Find("blocking")->Load().running_jobs, 0);
  EXPECT_EQ(SumOfSeries(pipeline_.metrics(), "jobpool_jobs_finished_total"), 1);
  EXPECT_EQ(SumOfSeries(pipeline_.metrics(), "jobpool_job_queue_duration_seconds"), 0);
  // Its place in the queue was given back once, not twice and not never.
  EXPECT_EQ(pipeline_->pools().Find("blocking")->Load().queued_jobs, 0);
}

// Looks like the real clock, but has a look-in where it is asked for the time.
class HookedClock final : public Clock {
 public:
  absl::Time Now() const override {
    if (on_now && std::this_thread::get_id() == hooked) std::exchange(on_now, nullptr)();
    return Clock::Real().Now();
  }
  MonotonicTime Monotonic() const override { return Clock::Real().Monotonic(); }
  void WaitUntil(CondVar& cv, Mutex& mu, MonotonicTime deadline) const override
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu) {
    Clock::Real().WaitUntil(cv, mu, deadline);
  }

  const std::thread::id hooked = std::this_thread::get_id();  // set and called on this thread alone
  mutable std::function<void()> on_now;
};

// A worker starts the job after the cancel has seen it queued: it is asked then.
TEST(ControlClockTest, ACancelMeetsAJobThatAWorkerStarts) {
  const HookedClock clock;
  TestPipeline::Options options;
  options.pools = {MakePool("blocking", 0, 1), MakePool("compute", 0, 1)};
  TestPipeline pipeline(options, clock);
  const auto blocker = pipeline.SubmitBlocker();
  const auto job = pipeline.Submit(SleepSpec(absl::Hours(1)));
  clock.on_now = [&] {  // Cancel wants to know when the job that it found queued ends
    blocker->AskToEnd(CancelReason::kRequested, absl::Now());
    EXPECT_TRUE(TestPipeline::AwaitRunning(*job));
  };
  ASSERT_TRUE(pipeline->control().Cancel(job->id()).ok());
  const JobRecord record = pipeline.AwaitEnd(job->id()).record;
  EXPECT_EQ(record.state, JobState::kCancelled);
  EXPECT_EQ(record.attempts.size(), 1u);
}

// A rename that falls between the worker's look at the name and the job's start.
TEST_F(ControlRaceTest, TheThreadShowsTheNewNameOfAJobRenamedAsItStarts) {
  WhileStarting([&] { EXPECT_TRUE(Update(pipeline_->control(), "mine", {"new", std::nullopt}).ok()); });
  const auto job = pipeline_.Submit(SleepSpec(absl::Hours(1), "mine"));
  ASSERT_TRUE(TestPipeline::AwaitRunning(*job));
  const JobRecord record = job->Snapshot().record;
  EXPECT_EQ(record.DisplayName(), "new");
  EXPECT_EQ(pipeline_.threads().Find(record.attempts[0].thread_id)->job.display_name, "new");
}

// Who has seen the end may delete the job, and is not told that it "has not
// ended: SUCCEEDED": the job is ended here, but not yet in the store.
TEST_F(ControlRaceTest, AJobThatIsSeenAsEndedCanBeDeleted) {
  JobState seen = JobState::kQueued;
  absl::Status deleted = absl::UnknownError("not called");
  pipeline_.store().before_put = [&](const std::string&) {
    seen = pipeline_->reader().Find("mine")->Snapshot().record.state;
    deleted = Delete(pipeline_->control(), "mine");
    return absl::OkStatus();
  };
  pipeline_.Submit(NoopSpec("mine"));
  pipeline_->Stop();
  EXPECT_TRUE(!IsEnded(seen) || deleted.ok()) << deleted;
}

// The same a moment later: in the store, and still in the table.
TEST_F(ControlRaceTest, AJobThatWasDeletedIsGone) {
  absl::Status first = absl::UnknownError("not called");
  absl::Status second = absl::UnknownError("not called");
  absl::Status found = absl::UnknownError("not called");
  pipeline_.store().after_put = [&](const std::string&) {
    first = Delete(pipeline_->control(), "mine");
    second = Delete(pipeline_->control(), "mine");
    found = pipeline_->reader().Find("mine").status();
    return absl::OkStatus();
  };
  pipeline_.Submit(NoopSpec("mine"));
  pipeline_->Stop();
  if (first.ok()) {
    EXPECT_EQ(second.code(), absl::StatusCode::kNotFound) << second;
    EXPECT_EQ(found.code(), absl::StatusCode::kNotFound);
  } else {
    EXPECT_EQ(MetadataOf(first)["state"], "RUNNING") << first;
  }
}

TEST_F(ControlRaceTest, AJobIsListedOnceWhileItEnds) {
  size_t listed = 0;
  WhileEnding("mine", [&] { listed = pipeline_->reader().List({.limit = 10})->jobs.size(); });
  pipeline_.Submit(NoopSpec("mine"));
  pipeline_->Stop();
  EXPECT_EQ(listed, 1u);
}

TEST_F(ControlRaceTest, AStoreThatCannotWriteStillLetsTheJobEnd) {
  pipeline_.store().before_put = [](const std::string&) { return absl::UnavailableError("no disk"); };
  bool said = false;
  on_line_ = [&](const std::string& line) { said |= absl::StartsWith(line, "job not stored job=jobs/mine"); };
  const auto job = pipeline_.Submit(NoopSpec("mine"));
  pipeline_->Stop();
  EXPECT_EQ(TestPipeline::StateOf(*job), JobState::kSucceeded);
  EXPECT_TRUE(said);
  EXPECT_EQ(pipeline_->live_jobs(), 0u);
}

TEST_F(ControlRaceTest, CancelWhereTakesTheChosen) {
  JobSpec spec = SleepSpec(absl::Hours(1), "daemon");
  spec.daemon = true;
  pipeline_.Submit(spec);
  const auto stays = pipeline_.SubmitBlocker();
  EXPECT_EQ(pipeline_->control().CancelWhere([](const LiveJob& job) { return job.daemon(); },
                                             CancelReason::kInterrupted),
            1u);
  EXPECT_EQ(ReasonOf(pipeline_.AwaitEnd("daemon").record.outcome->error), "INTERRUPTED");
  EXPECT_EQ(TestPipeline::StateOf(*stays), JobState::kRunning);
}

TEST(ControlTest, WhatACancelledJobLeavesFreeIsForNoneThatIsCancelledToo) {
  TestPipeline::Options options;
  options.pools = {MakePool("blocking", 0, 1), MakePool("compute", 0, 1)};
  TestPipeline pipeline(options);
  std::vector<std::shared_ptr<LiveJob>> jobs = {pipeline.Submit(SleepSpec(absl::Hours(1)))};
  EXPECT_TRUE(Eventually([&] { return TestPipeline::StateOf(*jobs[0]) == JobState::kRunning; }));
  JobSpec waits = NoopSpec();
  waits.pool = jobs[0]->pool();
  for (int i = 0; i < 200; ++i) jobs.push_back(pipeline.Submit(waits));
  EXPECT_EQ(pipeline->control().CancelWhere([](const LiveJob&) { return true; }, CancelReason::kInterrupted),
            jobs.size());
  pipeline->Stop();
  for (const auto& job : jobs) {
    EXPECT_EQ(TestPipeline::StateOf(*job), JobState::kCancelled);
    EXPECT_EQ(job->Snapshot().record.attempts.size(), job == jobs[0] ? 1u : 0u);
  }
}

}  // namespace
}  // namespace jobpool
