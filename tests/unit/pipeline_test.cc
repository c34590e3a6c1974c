// A job's way through the whole pipeline, and what callers do to it meanwhile.

#include "server/pipeline/pipeline.h"

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "server/job/errors.h"
#include "tests/support/error_details.h"
#include "tests/support/fake_clock.h"
#include "tests/support/metric_reader.h"
#include "tests/support/test_pipeline.h"

namespace jobpool {
namespace {

double Finished(const TestPipeline& pipeline, const std::string& state) {
  return SumOfSeries(pipeline.metrics(), "jobpool_jobs_finished_total", {{"state", state}});
}

TEST(PipelineTest, RunsAJobToItsEnd) {
  const FakeClock clock;
  TestPipeline pipeline(clock);
  JobSpec spec = NoopSpec();
  spec.work = NoopWork{std::make_shared<const std::string>("payload")};
  const auto job = pipeline.Submit(spec);
  const JobRecord record = pipeline.AwaitEnd(job->id()).record;
  EXPECT_EQ(record.id, job->id());
  EXPECT_EQ(record.state, JobState::kSucceeded);
  EXPECT_EQ(*record.pool, "compute");
  EXPECT_EQ(record.DisplayName(), "Job-1");
  EXPECT_EQ(record.create_time, clock.Now());
  EXPECT_EQ(record.outcome->end_time, clock.Now());
  EXPECT_TRUE(record.outcome->error.ok());
  EXPECT_EQ(*std::get<NoopResult>(*record.outcome->result).payload, "payload");
  ASSERT_EQ(record.attempts.size(), 1u);
  EXPECT_EQ(record.attempts[0].number, 1);
  EXPECT_EQ(record.attempts[0].thread_display_name, "Thread-1");
  EXPECT_EQ(record.attempts[0].start_time, clock.Now());
  EXPECT_EQ(record.attempts[0].end_time, clock.Now());
  EXPECT_TRUE(pipeline.AwaitNoLiveJobs());
  EXPECT_EQ(pipeline->reader().Find(job->id())->Snapshot().record.state, JobState::kSucceeded);
  EXPECT_EQ(Finished(pipeline, "succeeded"), 1);
  EXPECT_EQ(SumOfSeries(pipeline.metrics(), "jobpool_jobs_submitted_total",
                        {{"kind", "noop"}, {"pool", "compute"}}),
            1);
  EXPECT_EQ(SumOfSeries(pipeline.metrics(), "jobpool_job_queue_duration_seconds", {{"pool", "compute"}}), 1);
  EXPECT_EQ(SumOfSeries(pipeline.metrics(), "jobpool_job_run_duration_seconds", {{"kind", "noop"}}), 1);
}

TEST(PipelineTest, KeepsWhatWasAskedFor) {
  TestPipeline pipeline;
  JobSpec spec = NoopSpec("my-job");
  spec.pool = "blocking";
  spec.daemon = true;
  spec.options.display_name = "nightly";
  spec.options.labels = {{"team", "a"}};
  spec.options.retention = absl::Hours(1);
  const auto job = pipeline.Submit(spec);
  const JobRecord record = pipeline.AwaitEnd("my-job").record;
  EXPECT_EQ(*record.pool, "blocking");
  EXPECT_TRUE(record.daemon);
  EXPECT_EQ(record.DisplayName(), "nightly");
  EXPECT_EQ(record.Options().labels, spec.options.labels);
  EXPECT_EQ(record.ExpireTime(), record.outcome->end_time + absl::Hours(1));
}

TEST(PipelineTest, EachKindHasItsPool) {
  for (size_t kind = 0; kind < kKindCount; ++kind) {
    const auto which = static_cast<Kind>(kind);
    const bool blocks = which == Kind::kSleep || which == Kind::kCommand || which == Kind::kCustom;
    EXPECT_EQ(PoolSet::DefaultPool(which), blocks ? "blocking" : "compute") << kind;
  }
}

// Fails with a reason of its own and a result, but in its third run.
class GivesAndFails final : public Handler {
 public:
  absl::StatusOr<Result> Run(const Work&, HandlerContext& context) const override {
    context.process_usage = {absl::Hours(1), absl::Hours(2)};
    if (++runs_ == 3) return NoopResult{};
    context.result_of_failure = PrimesResult{runs_};
    return CommandFailedError("it failed", 7, 0, "");
  }

 private:
  mutable std::atomic<int> runs_{0};
};

TEST(PipelineTest, WorkThatFailsCanHaveAResult) {
  TestPipeline::Options options;
  options.replace_handlers = [](HandlerRegistry& handlers) {
    handlers.Replace(Kind::kNoop, std::make_unique<GivesAndFails>());
  };
  TestPipeline pipeline(options);
  pipeline.Submit(NoopSpec("fails"));
  const JobRecord failed = pipeline.AwaitEnd("fails").record;
  EXPECT_EQ(failed.state, JobState::kFailed);
  EXPECT_EQ(ReasonOf(failed.outcome->error), "COMMAND_FAILED");
  ASSERT_TRUE(failed.outcome->result.has_value());
  EXPECT_EQ(std::get<PrimesResult>(*failed.outcome->result).count, 1);
  EXPECT_GE(failed.attempts[0].usage.user_cpu_time, absl::Hours(1));
  EXPECT_GE(failed.attempts[0].usage.system_cpu_time, absl::Hours(2));

  JobSpec spec = NoopSpec("again");
  spec.options.retry.max_attempts = 2;
  spec.options.retry.initial_backoff = absl::ZeroDuration();
  pipeline.Submit(spec);
  const JobRecord succeeded = pipeline.AwaitEnd("again").record;
  EXPECT_EQ(succeeded.state, JobState::kSucceeded);
  EXPECT_EQ(succeeded.attempts.size(), 2u);
  EXPECT_TRUE(std::holds_alternative<NoopResult>(*succeeded.outcome->result));
}

TEST(PipelineTest, RollCallShowsARunningJob) {
  TestPipeline pipeline;
  const auto job = pipeline.SubmitBlocker();
  const JobRecord record = job->Snapshot().record;
  const auto thread = pipeline.threads().Find(record.attempts[0].thread_id);
  ASSERT_TRUE(thread.has_value());
  EXPECT_EQ(thread->job.id, job->id());
  EXPECT_EQ(thread->job.display_name, "Job-1");
  EXPECT_TRUE(thread->running());
  EXPECT_EQ(thread->pool, "blocking");
  EXPECT_EQ(thread->os_thread_id, record.attempts[0].os_thread_id);
}

TEST(PipelineTest, TwoSleepersAreTwoWorkers) {
  TestPipeline pipeline;
  pipeline.SubmitBlocker();
  pipeline.SubmitBlocker();
  EXPECT_EQ(pipeline.threads().Count().by_role[static_cast<size_t>(ThreadRole::kWorker)], 2);
}

TEST(PipelineTest, CancelsAQueuedJobAtOnce) {
  TestPipeline pipeline(TestPipeline::Options{{MakePool("blocking", 0, 1), MakePool("compute", 0, 1)}});
  pipeline.SubmitBlocker();
  const auto job = pipeline.Submit(SleepSpec(absl::ZeroDuration()));
  const Dispatcher& pool = *pipeline->pools().Find("blocking");
  EXPECT_EQ(pool.Load().queued_jobs, 1);
  const auto cancelled = pipeline->control().Cancel(job->id());
  ASSERT_TRUE(cancelled.ok());
  const JobRecord record = (*cancelled)->Snapshot().record;
  EXPECT_EQ(record.state, JobState::kCancelled);
  EXPECT_TRUE(record.attempts.empty());
  EXPECT_EQ(ReasonOf(record.outcome->error), "CANCEL_REQUESTED");
  EXPECT_EQ(pool.Load().queued_jobs, 0);
  EXPECT_EQ(Finished(pipeline, "cancelled"), 1);
}

TEST(PipelineTest, AsksARunningJobToEnd) {
  TestPipeline pipeline;
  const auto job = pipeline.SubmitBlocker();
  EXPECT_TRUE(Eventually([&] { return job->Snapshot().progress.has_value(); }));
  const auto cancelled = pipeline->control().Cancel(job->id());
  ASSERT_TRUE(cancelled.ok());
  const JobRecord record = pipeline.AwaitEnd(job->id()).record;
  EXPECT_EQ(record.state, JobState::kCancelled);
  EXPECT_EQ(ReasonOf(record.outcome->error), "CANCEL_REQUESTED");
  ASSERT_EQ(record.attempts.size(), 1u);
  EXPECT_EQ(record.attempts[0].error, record.outcome->error);
  EXPECT_FALSE(record.outcome->result.has_value());
  EXPECT_TRUE(record.outcome->progress.has_value());
}

TEST(PipelineTest, DoesNotCancelWhatHasEndedOrNeverWas) {
  TestPipeline pipeline;
  const auto job = pipeline.Submit(NoopSpec());
  pipeline.AwaitEnd(job->id());
  for (int i = 0; i < 2; ++i) {
    const absl::Status status = pipeline->control().Cancel(job->id()).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_EQ(ReasonOf(status), "JOB_ENDED");
    EXPECT_EQ(MetadataOf(status)["state"], "SUCCEEDED");
    EXPECT_TRUE(pipeline.AwaitNoLiveJobs());
  }
  EXPECT_EQ(pipeline->control().Cancel("x").status().code(), absl::StatusCode::kNotFound);
}

TEST(PipelineTest, TheReasonOfTheCancellationIsTheJobs) {
  TestPipeline pipeline;
  for (const auto& [reason, name] : {std::pair(CancelReason::kCallerGone, "CALLER_GONE"),
                                     std::pair(CancelReason::kInterrupted, "INTERRUPTED")}) {
    const auto job = pipeline.SubmitBlocker();
    pipeline->control().Cancel(job, reason);
    EXPECT_EQ(ReasonOf(pipeline.AwaitEnd(job->id()).record.outcome->error), name);
    pipeline->control().Cancel(job, reason);  // has ended: nothing
  }
}

TEST(PipelineTest, UpdatesUntilTheEnd) {
  TestPipeline pipeline(TestPipeline::Options{{MakePool("blocking", 0, 1), MakePool("compute", 0, 1)}});
  const auto running = pipeline.SubmitBlocker();
  const auto queued = pipeline.Submit(SleepSpec(absl::ZeroDuration()));
  const auto renamed = Update(pipeline->control(), queued->id(), {"new", std::nullopt});
  ASSERT_TRUE(renamed.ok());
  EXPECT_EQ(renamed->record.DisplayName(), "new");
  const auto labelled = Update(pipeline->control(), queued->id(), {std::nullopt, Labels{{"a", "b"}}});
  EXPECT_EQ(labelled->record.DisplayName(), "new");
  EXPECT_EQ(labelled->record.Options().labels, (Labels{{"a", "b"}}));

  ASSERT_TRUE(Update(pipeline->control(), running->id(), {"shown", std::nullopt}).ok());
  const uint64_t thread = running->Snapshot().record.attempts[0].thread_id;
  EXPECT_EQ(pipeline.threads().Find(thread)->job.display_name, "shown");

  ASSERT_TRUE(pipeline->control().Cancel(running->id()).ok());
  pipeline.AwaitEnd(queued->id());
  const absl::Status status = Update(pipeline->control(), queued->id(), {"late", std::nullopt}).status();
  EXPECT_EQ(ReasonOf(status), "JOB_ENDED");
  EXPECT_EQ(pipeline->reader().Find(queued->id())->Snapshot().record.DisplayName(), "new");
  EXPECT_EQ(Update(pipeline->control(), "x", {}).status().code(), absl::StatusCode::kNotFound);
}

TEST(PipelineTest, DeletesWhatHasEnded) {
  TestPipeline pipeline;
  const auto running = pipeline.SubmitBlocker();
  const absl::Status status = Delete(pipeline->control(), running->id());
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(ReasonOf(status), "JOB_NOT_ENDED");
  EXPECT_EQ(MetadataOf(status)["state"], "RUNNING");
  const auto job = pipeline.Submit(NoopSpec("mine"));
  pipeline.AwaitEnd("mine");
  EXPECT_TRUE(Eventually([&] { return pipeline->live_jobs() == 1; }));
  EXPECT_TRUE(Delete(pipeline->control(), "mine").ok());
  EXPECT_EQ(Delete(pipeline->control(), "mine").code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(pipeline->reader().Find("mine").status().code(), absl::StatusCode::kNotFound);
  pipeline.Submit(NoopSpec("mine"));  // the id is free again
}

TEST(PipelineTest, ListsLiveAndEndedAsOne) {
  FakeClock clock;
  TestPipeline pipeline(clock);
  std::vector<std::string> expected;
  for (int i = 0; i < 6; ++i) {
    const auto job = i % 2 == 0 ? pipeline.Submit(NoopSpec()) : pipeline.Submit(SleepSpec(absl::Hours(1)));
    if (i % 2 == 0) pipeline.AwaitEnd(job->id());
    expected.insert(expected.begin(), job->id());
    clock.Advance(absl::Seconds(1));
  }
  for (const size_t limit : {1, 2, 5, 6, 7}) {
    std::vector<std::string> ids;
    JobQuery query{.limit = limit};
    do {
      const auto page = pipeline->reader().List(query);
      ASSERT_TRUE(page.ok());
      ASSERT_FALSE(page->jobs.empty());
      for (const ListedJob& job : page->jobs) ids.push_back(job.Snapshot().record.id);
      query.after = page->next;
    } while (query.after.has_value());
    EXPECT_EQ(ids, expected) << limit;
  }
}

// The worker is free at the moment when the deadline of the next job passes, too.
TEST(PipelineTest, NoJobStartsOnceItsDeadlineHasPassed) {
  TestPipeline pipeline(TestPipeline::Options{{MakePool("blocking", 0, 1), MakePool("compute", 0, 1)}});
  for (int i = 0; i < 30; ++i) {
    JobSpec spec = SleepSpec(absl::Hours(1));
    spec.options.deadline_time = absl::Now() + absl::Milliseconds(10);
    const auto first = pipeline.Submit(spec);
    spec.work = SleepWork{};
    const auto second = pipeline.Submit(spec);
    pipeline.AwaitEnd(first->id());
    const JobRecord record = pipeline.AwaitEnd(second->id()).record;
    EXPECT_EQ(ReasonOf(record.outcome->error), "DEADLINE_PASSED");
    EXPECT_TRUE(record.attempts.empty());
  }
  EXPECT_EQ(pipeline.AwaitEnd(pipeline.Submit(SleepSpec(absl::ZeroDuration()))->id()).record.state,
            JobState::kSucceeded);
  EXPECT_EQ(pipeline->pools().Find("blocking")->Load().queued_jobs, 0);
}

TEST(PipelineTest, CloseRefusesAndAnnouncesTheLastEnd) {
  TestPipeline pipeline;
  const auto job = pipeline.SubmitBlocker();
  std::atomic<int> announced{0};
  Gate empty;
  pipeline->Close([&] {
    ++announced;
    empty.Open();
  });
  const absl::Status status = pipeline->admission().Submit(NoopSpec()).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(ReasonOf(status), "SHUTTING_DOWN");
  EXPECT_EQ(SumOfSeries(pipeline.metrics(), "jobpool_jobs_rejected_total", {{"reason", "shutting_down"}}), 1);
  EXPECT_EQ(announced, 0);
  EXPECT_EQ(pipeline->control().CancelWhere([](const LiveJob&) { return true; }, CancelReason::kInterrupted),
            1u);
  EXPECT_TRUE(empty.Await());
  pipeline->Stop();
  EXPECT_EQ(announced, 1);
  EXPECT_EQ(pipeline.threads().Count().total(), 0);
  pipeline->Stop();
}

TEST(PipelineTest, StopRunsWhatIsQueued) {
  TestPipeline pipeline(TestPipeline::Options{{MakePool("blocking", 0, 1), MakePool("compute", 0, 1)}});
  std::vector<std::shared_ptr<LiveJob>> jobs;
  for (int i = 0; i < 50; ++i) jobs.push_back(pipeline.Submit(SleepSpec(absl::Microseconds(10))));
  pipeline->Stop();
  for (const auto& job : jobs) EXPECT_EQ(TestPipeline::StateOf(*job), JobState::kSucceeded);
}

TEST(UpkeepTest, ForgetsExpiredJobsOnceASecond) {
  FakeClock clock;
  TestPipeline pipeline(clock);
  JobSpec spec = NoopSpec("mine");
  spec.options.retention = absl::Seconds(5);
  pipeline.Submit(spec);
  pipeline.AwaitEnd("mine");
  for (int second = 1; second <= 4; ++second) {
    clock.Advance(absl::Seconds(1));
    clock.AwaitSleeperUntil(Later(clock.Monotonic(), absl::Seconds(1)));  // it has been, and sleeps again
    EXPECT_TRUE(pipeline->reader().Find("mine").ok());
  }
  clock.Advance(absl::Seconds(1));
  clock.AwaitSleeperUntil(Later(clock.Monotonic(), absl::Seconds(1)));
  EXPECT_EQ(pipeline->reader().Find("mine").status().code(), absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace jobpool
