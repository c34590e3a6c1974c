// What is refused, and what a job is for others while it is being admitted.

#include "server/pipeline/admission.h"

#include <atomic>
#include <functional>
#include <latch>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "tests/support/error_details.h"
#include "tests/support/fake_clock.h"
#include "tests/support/metric_reader.h"
#include "tests/support/test_pipeline.h"

namespace jobpool {
namespace {

double Rejected(const TestPipeline& pipeline, const std::string& reason) {
  return SumOfSeries(pipeline.metrics(), "jobpool_jobs_rejected_total", {{"reason", reason}});
}

TestPipeline::Options SmallPools(int64_t max_queued_jobs) {
  TestPipeline::Options options;
  options.pools = {MakePool("blocking", 0, 1, max_queued_jobs), MakePool("compute", 0, 1, max_queued_jobs)};
  return options;
}

TEST(AdmissionTest, RefusesAPoolThatThereIsNot) {
  TestPipeline pipeline;
  JobSpec spec = NoopSpec();
  spec.pool = "x";
  const absl::Status status = pipeline->admission().Submit(spec).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(MetadataOf(status)["name"], "pools/x");
  EXPECT_EQ(Rejected(pipeline, "pool_not_found"), 1);
  EXPECT_EQ(SumOfSeries(pipeline.metrics(), "jobpool_jobs_submitted_total"), 0);
}

TEST(AdmissionTest, RefusesAnIdThatALiveJobHas) {
  TestPipeline pipeline(SmallPools(1));
  pipeline.SubmitBlocker();
  pipeline.Submit(SleepSpec(absl::Hours(1), "queued"));
  for (int i = 0; i < 3; ++i) {  // and does not keep the place in the queue
    const absl::Status status = pipeline->admission().Submit(NoopSpec("queued")).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kAlreadyExists);
    EXPECT_EQ(MetadataOf(status)["name"], "jobs/queued");
  }
  EXPECT_EQ(Rejected(pipeline, "job_exists"), 3);
  pipeline.Submit(NoopSpec());
}

TEST(AdmissionTest, RefusesAnIdThatAnEndedJobHas) {
  TestPipeline pipeline;
  pipeline.Submit(NoopSpec("mine"));
  pipeline.AwaitEnd("mine");
  ASSERT_TRUE(pipeline.AwaitNoLiveJobs());
  EXPECT_EQ(ReasonOf(pipeline->admission().Submit(SleepSpec(absl::Hours(1), "mine")).status()), "JOB_EXISTS");
  const JobRecord record = pipeline->reader().Find("mine")->Snapshot().record;
  EXPECT_EQ(record.state, JobState::kSucceeded);
  EXPECT_EQ(KindOf(record.work), Kind::kNoop);
  EXPECT_EQ(pipeline->live_jobs(), 0u);
}

TEST(AdmissionTest, OneOfManyGetsTheId) {
  TestPipeline pipeline;
  for (int round = 0; round < 100; ++round) {
    std::latch start(4);
    std::atomic<int> accepted{0};
    std::vector<std::thread> callers;
    for (int t = 0; t < 4; ++t) {
      callers.emplace_back([&] {
        start.arrive_and_wait();
        accepted += pipeline->admission().Submit(NoopSpec(absl::StrCat("r", round))).ok();
      });
    }
    for (std::thread& caller : callers) caller.join();
    EXPECT_EQ(accepted, 1);
  }
}

TEST(AdmissionTest, RefusesWhenTheQueueIsFull) {
  TestPipeline pipeline(SmallPools(2));
  const auto blocker = pipeline.SubmitBlocker();
  const auto first = pipeline.Submit(SleepSpec(absl::ZeroDuration()));
  const auto second = pipeline.Submit(SleepSpec(absl::ZeroDuration()));
  const absl::Status status = pipeline->admission().Submit(SleepSpec(absl::ZeroDuration())).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(ReasonOf(status), "QUEUE_FULL");
  EXPECT_EQ(MetadataOf(status)["limit"], "2");
  EXPECT_EQ(MetadataOf(status)["pool"], "pools/blocking");
  ASSERT_TRUE(RetryDelayOf(status).has_value());
  EXPECT_EQ(Rejected(pipeline, "queue_full"), 1);
  pipeline.Submit(NoopSpec());  // the other pool is not

  ASSERT_TRUE(pipeline->control().Cancel(first->id()).ok());  // gives its place back
  const auto third = pipeline.Submit(SleepSpec(absl::ZeroDuration()));
  EXPECT_FALSE(pipeline->admission().Submit(SleepSpec(absl::ZeroDuration())).ok());
  ASSERT_TRUE(pipeline->control().Cancel(blocker->id()).ok());
  pipeline.AwaitEnd(second->id());
  pipeline.AwaitEnd(third->id());
  pipeline.SubmitBlocker();
  for (int i = 0; i < 2; ++i) pipeline.Submit(SleepSpec(absl::ZeroDuration()));
  EXPECT_FALSE(pipeline->admission().Submit(SleepSpec(absl::ZeroDuration())).ok());
}

// The pool idled for long before it was asked to do anything: that says nothing
// about how fast its queue drains.
TEST(AdmissionTest, TheRetryDelayIsMeasuredWhileJobsWait) {
  FakeClock clock;
  TestPipeline pipeline(SmallPools(2), clock);
  const auto blocker = pipeline.SubmitBlocker();
  const auto full = [&] { return pipeline->admission().Submit(SleepSpec(absl::Hours(1))).status(); };
  const auto second = pipeline.Submit(SleepSpec(absl::Hours(1)));
  const auto third = pipeline.Submit(SleepSpec(absl::Hours(1)));
  EXPECT_EQ(RetryDelayOf(full()), absl::Milliseconds(100));
  clock.Advance(absl::Seconds(1));
  ASSERT_TRUE(pipeline->control().Cancel(blocker->id()).ok());
  ASSERT_TRUE(TestPipeline::AwaitRunning(*second));
  pipeline.Submit(SleepSpec(absl::Hours(1)));
  // From one take to the next, a little less since the first that was refused has not come back.
  EXPECT_NEAR(absl::ToDoubleSeconds(RetryDelayOf(full()).value()), 1, 0.02);
}

TEST(AdmissionTest, TellsAWaiterOfTheEnd) {
  struct Teller final : Waiter {
    void OnJobEnd(const EndedJob& job) override {
      state = job->state;
      told.Open();
    }
    void OnJobLeft() override {}
    std::atomic<JobState> state{JobState::kQueued};
    Gate told;
  };
  TestPipeline pipeline;
  const auto teller = std::make_shared<Teller>();
  ASSERT_TRUE(pipeline->admission().Submit(NoopSpec(), teller).ok());
  EXPECT_TRUE(teller->told.Await());
  EXPECT_EQ(teller->state, JobState::kSucceeded);
}

// While a job is admitted, others may already see it: here they act, on the
// same thread, when it is in the table and the store is asked for its id.
class AdmissionRaceTest : public ::testing::Test {
 protected:
  // Once, in the middle of the next admission of a job with `id`.
  void WhileAdmitting(const std::string& id, std::function<void()> act) {
    pipeline_.store().before_get = [this, id, act = std::move(act)](const std::string& asked) {
      if (asked == id && !std::exchange(acted_, true)) act();
      return absl::OkStatus();
    };
  }

  // An ended job, kept by the store alone.
  void KeepEnded(const std::string& id) {
    pipeline_.Submit(NoopSpec(id));
    pipeline_.AwaitEnd(id);
    ASSERT_TRUE(pipeline_.AwaitNoLiveJobs());
  }

  bool acted_ = false;
  TestPipeline pipeline_;
};

TEST_F(AdmissionRaceTest, AnEndedJobDoesNotChangeWhileItsIdIsAskedForAgain) {
  KeepEnded("mine");
  JobState seen = JobState::kQueued;
  WhileAdmitting("mine", [&] { seen = pipeline_->reader().Find("mine")->Snapshot().record.state; });
  EXPECT_FALSE(pipeline_->admission().Submit(NoopSpec("mine")).ok());
  ASSERT_TRUE(acted_);
  EXPECT_EQ(seen, JobState::kSucceeded);
}

TEST_F(AdmissionRaceTest, AWaitForAnEndedJobEndsThoughItsIdIsAskedForAgain) {
  KeepEnded("mine");
  const auto told = std::make_shared<std::atomic<bool>>(false);
  std::shared_ptr<Join> join;
  WhileAdmitting("mine", [&] {
    join = *pipeline_->notifier().Wait({"mine"}, Join::Mode::kAll, std::nullopt,
                                       [told](Join::Result) { *told = true; });
  });
  EXPECT_FALSE(pipeline_->admission().Submit(NoopSpec("mine")).ok());
  ASSERT_TRUE(acted_);
  EXPECT_TRUE(*told);  // nothing is to come any more that could
  join->Abandon();
}

// Runs in a process of its own: what goes wrong here goes wrong for good.
using AdmissionRaceDeathTest = AdmissionRaceTest;

TEST_F(AdmissionRaceDeathTest, ACancelMeetsAJobThatIsBeingRefused) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(
      {
        KeepEnded("mine");
        WhileAdmitting("mine", [&] { pipeline_->control().Cancel("mine").status().IgnoreError(); });
        const bool refused = !pipeline_->admission().Submit(NoopSpec("mine")).ok();
        const auto page = pipeline_->reader().List({.limit = 10});
        const bool one = page.ok() && page->jobs.size() == 1 &&
                         page->jobs[0].Snapshot().record.state == JobState::kSucceeded;
        _exit(refused && one ? 0 : 1);
      },
      ::testing::ExitedWithCode(0), "");
}

TEST_F(AdmissionRaceDeathTest, ACancelMeetsAJobThatIsBeingAccepted) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(
      {
        WhileAdmitting("mine", [&] { pipeline_->control().Cancel("mine").status().IgnoreError(); });
        const auto job = pipeline_->admission().Submit(SleepSpec(absl::Hours(1), "mine"));
        // Accepted and cancelled, or not found by the cancel: both would do.
        _exit(acted_ && job.ok() && pipeline_->reader().Find("mine").ok() ? 0 : 1);
      },
      ::testing::ExitedWithCode(0), "");
}

TEST_F(AdmissionRaceTest, AStoreThatCannotReadRefusesAndLeavesNothing) {
  pipeline_.store().before_get = [](const std::string&) { return absl::UnavailableError("no disk"); };
  const absl::Status status = pipeline_->admission().Submit(NoopSpec("mine")).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(pipeline_->live_jobs(), 0u);
  EXPECT_EQ(pipeline_->pools().Find("compute")->Load().queued_jobs, 0);
}

}  // namespace
}  // namespace jobpool
