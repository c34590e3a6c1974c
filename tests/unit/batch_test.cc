// Jobs that come in together, and requests that come again.

#include <algorithm>
#include <atomic>
#include <gmock/gmock.h>
#include <map>
#include <thread>

#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "tests/support/error_details.h"
#include "tests/support/fake_clock.h"
#include "tests/support/test_pipeline.h"

namespace jobpool {
namespace {

using ::testing::ElementsAre;

JobSpec Named(JobSpec spec, uint64_t request, uint64_t payload = 0) {
  spec.request = RequestKey{RequestId{request, 1}, Fingerprint{payload, 0}};
  return spec;
}

class BatchTest : public ::testing::Test {
 protected:
  // Refused with `reason`, and nothing of it is left.
  void ExpectRefused(std::vector<JobSpec> specs, absl::string_view reason) {
    const size_t jobs = Jobs();
    EXPECT_EQ(ReasonOf(pipeline_->admission().Validate(specs, /*batch=*/true).status()), reason);
    EXPECT_EQ(ReasonOf(pipeline_->admission().SubmitAll(std::move(specs)).status()), reason);
    EXPECT_EQ(Jobs(), jobs);
  }

  // Live and ended ones.
  size_t Jobs() { return pipeline_->reader().List({.limit = 1000})->jobs.size(); }

  int64_t Queued(absl::string_view pool) { return pipeline_->pools().Find(pool)->Load().queued_jobs; }

  TestPipeline pipeline_{{{MakePool("blocking", 1, 1, 3), MakePool("compute", 1, 1)}}};
};

TEST_F(BatchTest, AcceptsAllInTheirOrder) {
  pipeline_.SubmitBlocker();
  const auto jobs = pipeline_->admission().SubmitAll(
      {SleepSpec(absl::ZeroDuration(), "a"), NoopSpec("b"), SleepSpec(absl::ZeroDuration(), "c")});
  ASSERT_TRUE(jobs.ok()) << jobs.status();
  std::vector<std::string> ids;
  for (const JobHandle& job : *jobs) ids.push_back(job.Snapshot().record.id);
  EXPECT_THAT(ids, ElementsAre("a", "b", "c"));
  EXPECT_EQ(Queued("blocking"), 2);
  EXPECT_EQ(pipeline_.AwaitEnd("b").record.state, JobState::kSucceeded);
  EXPECT_LT((*jobs)[0].Snapshot().record.number, (*jobs)[2].Snapshot().record.number);
}

TEST(BatchStartTest, AsManyStartAsThereCanBeThreads) {
  const FakeClock clock;  // which stands still: nothing looks again after a while
  TestPipeline pipeline(TestPipeline::Options{{MakePool("blocking", 0, 4), MakePool("compute", 0, 1)}},
                        clock);
  const auto jobs = pipeline->admission().SubmitAll(std::vector<JobSpec>(5, SleepSpec(absl::Hours(1))));
  ASSERT_TRUE(jobs.ok()) << jobs.status();
  for (size_t i = 0; i < 4; ++i) EXPECT_TRUE(TestPipeline::AwaitRunning(*(*jobs)[i].live)) << i;
  EXPECT_EQ(TestPipeline::StateOf(*(*jobs)[4].live), JobState::kQueued);
}

// The names of jobs, by their pools.
using NamesByPool = std::map<std::string, std::vector<std::string>>;

// Notes the jobs in the order in which they run, and where.
class Notes final : public Handler {
 public:
  explicit Notes(NamesByPool& ran) : ran_(ran) {}
  absl::StatusOr<Result> Run(const Work&, HandlerContext& context) const override {
    std::string pool;
    context.host->CurrentThread([&](const ThreadView& thread) { pool = std::string(thread.pool); });
    const MutexLock lock(mu_);
    ran_[pool].emplace_back(context.attempt.display_name);
    return NoopResult{};
  }

 private:
  mutable Mutex mu_;
  NamesByPool& ran_ ABSL_GUARDED_BY(mu_);
};

// More than are queued under one lock, to both pools in turns.
TEST(BatchStartTest, TheyStartInTheirPoolsInTheirOrder) {
  NamesByPool ran;
  TestPipeline::Options options;
  options.pools = {MakePool("compute", 0, 1), MakePool("blocking", 0, 1)};
  options.replace_handlers = [&](HandlerRegistry& handlers) {
    handlers.Replace(Kind::kNoop, std::make_unique<Notes>(ran));
  };
  TestPipeline pipeline(options);
  NamesByPool submitted;
  std::vector<JobSpec> specs;
  for (int i = 0; i < 600; ++i) {
    JobSpec spec = NoopSpec();
    spec.pool = i % 2 == 0 ? "blocking" : "compute";
    spec.options.display_name = absl::StrCat(i);
    submitted["pools/" + spec.pool].push_back(spec.options.display_name);
    specs.push_back(std::move(spec));
  }
  ASSERT_TRUE(pipeline->admission().SubmitAll(std::move(specs)).ok());
  ASSERT_TRUE(pipeline.AwaitNoLiveJobs());
  EXPECT_EQ(ran, submitted);
}

TEST_F(BatchTest, OneThatCannotBeAcceptedRefusesAll) {
  pipeline_.SubmitBlocker();
  pipeline_.Submit(SleepSpec(absl::Hours(1), "taken"));
  ExpectRefused({NoopSpec("x"), NoopSpec("taken")}, "JOB_EXISTS");
  ExpectRefused({NoopSpec("x"), NoopSpec("x")}, "JOB_EXISTS");
  JobSpec elsewhere = NoopSpec();
  elsewhere.pool = "nowhere";
  ExpectRefused({NoopSpec("x"), elsewhere}, "POOL_NOT_FOUND");
  // One place is taken, three are asked for of three; the other pool has room.
  ExpectRefused(
      {NoopSpec("x"), SleepSpec(absl::Hours(1)), SleepSpec(absl::Hours(1)), SleepSpec(absl::Hours(1))},
      "QUEUE_FULL");
  // The ids and the places are free again.
  EXPECT_TRUE(pipeline_->admission()
                  .SubmitAll({NoopSpec("x"), SleepSpec(absl::Hours(1)), SleepSpec(absl::Hours(1))})
                  .ok());
  EXPECT_EQ(Queued("blocking"), 3);
}

TEST_F(BatchTest, RefusalsAreCountedByJob) {
  EXPECT_FALSE(pipeline_->admission().SubmitAll({NoopSpec("x"), NoopSpec("x"), NoopSpec()}).ok());
  double rejected = 0;
  for (const auto& family : pipeline_.metrics().Collect()) {
    if (family.name != "jobpool_jobs_rejected_total") continue;
    for (const auto& metric : family.metric) rejected += metric.counter.value;
  }
  EXPECT_EQ(rejected, 3);
}

TEST_F(BatchTest, ValidatingChangesNothing) {
  JobSpec spec = SleepSpec(absl::Hours(1), "x");
  spec.options.display_name = "one";
  for (int i = 0; i < 5; ++i) {  // more than fit
    const auto records = pipeline_->admission().Validate({Named(spec, 1), NoopSpec()}, /*batch=*/true);
    ASSERT_TRUE(records.ok()) << records.status();
    EXPECT_EQ((*records)[0].DisplayName(), "one");
    EXPECT_EQ(*(*records)[0].pool, "blocking");
    EXPECT_EQ(*(*records)[1].pool, "compute");
  }
  EXPECT_EQ(pipeline_->live_jobs(), 0u);
  EXPECT_TRUE(pipeline_->admission().Submit(Named(spec, 1)).ok());
}

TEST_F(BatchTest, ValidatingSaysThatTheServerShutsDown) {
  pipeline_->Close([] {});
  ExpectRefused({NoopSpec()}, "SHUTTING_DOWN");
}

TEST_F(BatchTest, TheSameRequestMakesOneJob) {
  const auto first = pipeline_->admission().Submit(Named(NoopSpec(), 1));
  ASSERT_TRUE(first.ok());
  EXPECT_FALSE(first->duplicate);
  const std::string id = first->job.id();
  pipeline_.AwaitEnd(id);
  ASSERT_TRUE(pipeline_.AwaitNoLiveJobs());
  const auto second = pipeline_->admission().Submit(Named(NoopSpec(), 1));
  ASSERT_TRUE(second.ok());
  EXPECT_TRUE(second->duplicate);
  EXPECT_EQ(second->job.id(), id);
  EXPECT_EQ(second->job.Snapshot().record.state, JobState::kSucceeded);  // as it stands
  EXPECT_EQ(ReasonOf(pipeline_->admission().Submit(Named(NoopSpec(), 1, 7)).status()), "REQUEST_ID_REUSED");
  EXPECT_NE(pipeline_->admission().Submit(Named(NoopSpec(), 2))->job.id(), id);
}

TEST_F(BatchTest, ARefusedRequestIsNotRemembered) {
  pipeline_.SubmitBlocker();
  const auto fill = pipeline_->admission().SubmitAll(std::vector<JobSpec>(3, SleepSpec(absl::Hours(1))));
  ASSERT_TRUE(fill.ok());
  const JobSpec spec = Named(SleepSpec(absl::Hours(1)), 1);
  EXPECT_EQ(ReasonOf(pipeline_->admission().Submit(spec).status()), "QUEUE_FULL");
  ASSERT_TRUE(pipeline_->control().Cancel((*fill)[0].id()).ok());
  const auto again = pipeline_->admission().Submit(spec);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_FALSE(again->duplicate);
}

TEST_F(BatchTest, ARequestWhoseJobIsGoneDoesNotRunItAgain) {
  const std::string id = pipeline_->admission().Submit(Named(NoopSpec(), 1))->job.id();
  pipeline_.AwaitEnd(id);
  ASSERT_TRUE(pipeline_.AwaitNoLiveJobs());
  ASSERT_TRUE(Delete(pipeline_->control(), id).ok());
  EXPECT_EQ(ReasonOf(pipeline_->admission().Submit(Named(NoopSpec(), 1)).status()), "JOB_NOT_FOUND");
}

TEST_F(BatchTest, EqualRequestsInABatchMakeOneJob) {
  const auto jobs = pipeline_->admission().SubmitAll(
      {Named(NoopSpec(), 1), NoopSpec(), Named(NoopSpec(), 1), Named(NoopSpec(), 2)});
  ASSERT_TRUE(jobs.ok()) << jobs.status();
  EXPECT_EQ((*jobs)[0].id(), (*jobs)[2].id());
  EXPECT_NE((*jobs)[0].id(), (*jobs)[1].id());
  EXPECT_NE((*jobs)[0].id(), (*jobs)[3].id());
  // The whole batch again, with one more.
  const auto again =
      pipeline_->admission().SubmitAll({Named(NoopSpec(), 1), Named(NoopSpec(), 3), Named(NoopSpec(), 2)});
  ASSERT_TRUE(again.ok());
  EXPECT_EQ((*again)[0].id(), (*jobs)[0].id());
  EXPECT_EQ((*again)[2].id(), (*jobs)[3].id());
  ExpectRefused({Named(NoopSpec(), 4), Named(NoopSpec(), 4, 7)}, "REQUEST_ID_REUSED");
  ExpectRefused({Named(NoopSpec(), 5), Named(NoopSpec(), 1, 7)}, "REQUEST_ID_REUSED");
  EXPECT_FALSE(pipeline_->admission().Submit(Named(NoopSpec(), 5))->duplicate);
}

class CountingWaiter final : public Waiter {
 public:
  void OnJobEnd(const EndedJob&) override { ++ends_; }
  void OnJobLeft() override {}
  int ends() const { return ends_.load(); }

 private:
  std::atomic<int> ends_{0};
};

TEST_F(BatchTest, WhoAsksAgainIsToldOfTheEnd) {
  const auto waiter = std::make_shared<CountingWaiter>();
  const std::string id = pipeline_->admission().Submit(Named(SleepSpec(absl::Hours(1)), 1))->job.id();
  ASSERT_TRUE(pipeline_->admission().Submit(Named(SleepSpec(absl::Hours(1)), 1), waiter).ok());
  EXPECT_EQ(waiter->ends(), 0);
  ASSERT_TRUE(pipeline_->control().Cancel(id).ok());
  ASSERT_TRUE(Eventually([&] { return waiter->ends() == 1; }));
  ASSERT_TRUE(pipeline_.AwaitNoLiveJobs());
  const auto late = std::make_shared<CountingWaiter>();
  ASSERT_TRUE(pipeline_->admission().Submit(Named(SleepSpec(absl::Hours(1)), 1), late).ok());
  EXPECT_EQ(late->ends(), 1);
}

TEST_F(BatchTest, EachByItself) {
  pipeline_.SubmitBlocker();
  pipeline_.Submit(SleepSpec(absl::Hours(1), "taken"));  // two places are left
  JobSpec elsewhere = NoopSpec();
  elsewhere.pool = "nowhere";
  JobSpec late = NoopSpec();
  late.options.deadline_time = absl::UnixEpoch();
  std::vector<std::shared_ptr<Waiter>> waiters;
  std::vector<const CountingWaiter*> counts;
  for (int i = 0; i < 9; ++i) {
    const auto waiter = std::make_shared<CountingWaiter>();
    counts.push_back(waiter.get());
    waiters.push_back(waiter);
  }
  const auto jobs = pipeline_->admission().SubmitEach(
      {NoopSpec("a"), elsewhere, SleepSpec(absl::Hours(1), "b"), NoopSpec("taken"), Named(NoopSpec(), 1),
       Named(NoopSpec(), 1), SleepSpec(absl::Hours(1), "c"), SleepSpec(absl::Hours(1), "d"), late},
      waiters, [](size_t i) { return absl::StrCat("at ", i, "."); });
  std::vector<std::string> reasons;
  for (const auto& job : jobs) reasons.push_back(ReasonOf(job.status()));
  EXPECT_THAT(reasons,
              ElementsAre("", "POOL_NOT_FOUND", "", "JOB_EXISTS", "", "", "", "QUEUE_FULL", "INVALID_FIELD"));
  EXPECT_THAT(std::string(jobs[8].status().message()), ::testing::HasSubstr("at 8.job.deadline_time"));
  EXPECT_EQ(jobs[4]->job.id(), jobs[5]->job.id());
  EXPECT_FALSE(jobs[4]->duplicate);
  EXPECT_TRUE(jobs[5]->duplicate);
  EXPECT_EQ(Queued("blocking"), 3);
  ASSERT_TRUE(pipeline_->control().Cancel("b").ok());
  // Those that have ended are told to theirs, once; the blocker, "taken" and "c" have not.
  ASSERT_TRUE(Eventually([&] { return pipeline_->live_jobs() == 3u; }));
  std::vector<int> ends;
  ASSERT_TRUE(Eventually([&] {
    ends.clear();
    for (const CountingWaiter* waiter : counts) ends.push_back(waiter->ends());
    return std::count(ends.begin(), ends.end(), 0) == 5;
  }));
  EXPECT_THAT(ends, ElementsAre(1, 0, 1, 0, 1, 1, 0, 0, 0));
}

TEST_F(BatchTest, EachOfManyThatFitIsAccepted) {
  std::vector<std::shared_ptr<Waiter>> waiters;
  for (int i = 0; i < 100; ++i) waiters.push_back(std::make_shared<CountingWaiter>());
  const auto jobs = pipeline_->admission().SubmitEach(std::vector<JobSpec>(100, NoopSpec()), waiters,
                                                      [](size_t) { return ""; });
  for (const auto& job : jobs) ASSERT_TRUE(job.ok()) << job.status();
  for (size_t i = 1; i < jobs.size(); ++i) EXPECT_LT(jobs[i - 1]->job.id(), jobs[i]->job.id());
  ASSERT_TRUE(pipeline_.AwaitNoLiveJobs());
  for (const auto& waiter : waiters) {
    ASSERT_TRUE(Eventually([&] { return static_cast<const CountingWaiter&>(*waiter).ends() == 1; }));
  }
}

// What all of them cannot have, some can.
TEST_F(BatchTest, EachTakesTheRoomThatThereIs) {
  pipeline_.SubmitBlocker();
  const auto waiters = std::vector<std::shared_ptr<Waiter>>(5, nullptr);
  const auto jobs = pipeline_->admission().SubmitEach(std::vector<JobSpec>(5, SleepSpec(absl::Hours(1))),
                                                      waiters, [](size_t) { return ""; });
  EXPECT_EQ(std::count_if(jobs.begin(), jobs.end(), [](const auto& job) { return job.ok(); }), 3);
  EXPECT_TRUE(jobs[2].ok());
  double rejected = 0;
  for (const auto& family : pipeline_.metrics().Collect()) {
    if (family.name != "jobpool_jobs_rejected_total") continue;
    for (const auto& metric : family.metric) rejected += metric.counter.value;
  }
  EXPECT_EQ(rejected, 2);
}

TEST_F(BatchTest, EqualRequestsAtOnceMakeOneJob) {
  constexpr int kCallers = 4;
  for (uint64_t round = 1; round <= 200; ++round) {
    std::atomic<int> made{0};
    std::array<std::string, kCallers> ids;
    std::vector<std::thread> callers;
    for (int i = 0; i < kCallers; ++i) {
      callers.emplace_back([&, i] {
        const auto job = pipeline_->admission().Submit(Named(NoopSpec(), round));
        made += job.ok() && !job->duplicate;
        ids[static_cast<size_t>(i)] = job.ok() ? job->job.id() : "";
      });
    }
    for (std::thread& caller : callers) caller.join();
    ASSERT_EQ(made.load(), 1);
    for (const std::string& id : ids) ASSERT_EQ(id, ids[0]);
  }
}

TEST_F(BatchTest, WhoSeesOneOfABatchSeesAll) {
  std::atomic<bool> stop{false};
  std::atomic<int> torn{0};
  std::thread reader([&] {
    while (!stop.load()) {
      const JobPage page = pipeline_->reader().List({.limit = 1}).value();
      for (const ListedJob& job : page.jobs) {
        const std::string id = job.id();
        const std::string other = id.substr(0, id.size() - 1) + (id.back() == 'a' ? 'b' : 'a');
        torn += !pipeline_->reader().Find(other).ok();
      }
    }
  });
  for (int i = 0; i < 2000; ++i) {
    const std::string prefix = absl::StrCat("j", i);
    ASSERT_TRUE(pipeline_->admission().SubmitAll({NoopSpec(prefix + "a"), NoopSpec(prefix + "b")}).ok());
  }
  stop = true;
  reader.join();
  EXPECT_EQ(torn.load(), 0);
}

}  // namespace
}  // namespace jobpool
