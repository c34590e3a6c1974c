// Jobs that are kept on disk: acknowledged, ended, refused, left and recovered.

#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <prometheus/registry.h>

#include "absl/strings/str_cat.h"
#include "server/base/status_copy.h"
#include "server/job/errors.h"
#include "server/job/job_id.h"
#include "server/pipeline/pipeline.h"
#include "server/store/layered_store.h"
#include "server/store/memory_store.h"
#include "tests/support/eventually.h"
#include "tests/support/hooked_store.h"
#include "tests/support/job_builder.h"
#include "tests/support/test_pipeline.h"

namespace jobpool {
namespace {

/// What outlives a server.
struct Disk {
  MemoryStore kept{100'000};
  HookedStore store{kept};
};

/// A server without its services.
class DurableServer {
 public:
  explicit DurableServer(Disk& disk, const std::function<void(Pipeline&)>& before_it_serves = nullptr,
                         const std::function<void(HandlerRegistry&)>& replace_handlers = nullptr)
      : all_(memory_, &disk.store) {
    if (replace_handlers) replace_handlers(handlers_);
    options_.pools = {MakePool("blocking", 0, 1), MakePool("compute", 0, 1)};
    options_.seed = 7;
    pipeline_ =
        std::make_unique<Pipeline>(options_, handlers_, all_, threads_, metrics_, Clock::Real(), &disk.store);
    recovered_ = pipeline_->Recover();
    if (before_it_serves) before_it_serves(*pipeline_);
    pipeline_->ResumeRecovered();
  }

  /// As a shutdown does whose time is over at once.
  void ShutDown() {
    pipeline_->Close([] {});
    pipeline_->control().LeaveKept();
    pipeline_->control().CancelWhere([](const LiveJob&) { return true; }, CancelReason::kInterrupted);
    EXPECT_TRUE(Eventually([&] { return pipeline_->live_jobs() == 0; }));
    pipeline_->Stop();
  }
  ~DurableServer() {
    if (pipeline_->live_jobs() > 0) ShutDown();
  }

  Pipeline* operator->() { return pipeline_.get(); }
  const absl::Status& recovered() const { return recovered_; }
  MemoryStore& memory() { return memory_; }

  JobHandle Submit(JobSpec spec) {
    absl::StatusOr<Submission> made = pipeline_->admission().Submit(std::move(spec));
    if (!made.ok()) throw std::runtime_error(made.status().ToString());
    return made->job;
  }

  absl::Status AwaitKept(const JobHandle& job) {
    Gate kept;
    absl::Status status;
    pipeline_->admission().AwaitKept({job}, [&](const absl::Status& how) {
      status = CopyForThread(how);
      kept.Open();
    });
    kept.Await();
    return status;
  }

  /// Of all that was done to a job.
  absl::Status AwaitChanged(const std::string& id) {
    Gate kept;
    absl::Status status;
    pipeline_->control().AwaitKept(pipeline_->reader().Find(id)->live, [&](const absl::Status& how) {
      status = CopyForThread(how);
      kept.Open();
    });
    kept.Await();
    return status;
  }

  JobRecord Get(const std::string& id) {
    absl::StatusOr<JobHandle> job = pipeline_->reader().Find(id);
    if (!job.ok()) throw std::runtime_error(job.status().ToString());
    return job->Snapshot().record;
  }

  JobRecord AwaitEnd(const std::string& id) {
    EXPECT_TRUE(Eventually([&] { return IsEnded(Get(id).state); }));
    return Get(id);
  }

 private:
  HandlerRegistry handlers_;
  MemoryStore memory_{1000};
  LayeredStore all_;
  ThreadRegistry threads_;
  prometheus::Registry metrics_;
  PipelineOptions options_;
  std::unique_ptr<Pipeline> pipeline_;
  absl::Status recovered_;
};

JobSpec Blocker(absl::string_view id) { return SleepSpec(absl::Hours(1), id); }

TEST(DurableTest, AnAcknowledgedJobIsOnDisk) {
  Disk disk;
  DurableServer server(disk);
  const JobHandle job = server.Submit(Blocker("a"));
  EXPECT_EQ(server.Get("a").durability, Durability::kDisk);
  ASSERT_TRUE(server.AwaitKept(job).ok());
  ASSERT_EQ(disk.kept.ListLive(0, 10)->size(), 1u);
  EXPECT_EQ(disk.kept.ListLive(0, 10)->front().id, "a");
}

TEST(DurableTest, AJobInMemoryIsNot) {
  Disk disk;
  DurableServer server(disk);
  JobSpec spec = NoopSpec("a");
  spec.durability = Durability::kMemory;
  const JobHandle job = server.Submit(std::move(spec));
  EXPECT_TRUE(server.AwaitKept(job).ok());
  EXPECT_EQ(server.AwaitEnd("a").durability, Durability::kMemory);
  EXPECT_EQ(*disk.kept.Get("a"), nullptr);
  EXPECT_EQ(*disk.kept.LastNumber(), 0u);
}

TEST(DurableTest, AnEndIsSeenOnceItIsOnDisk) {
  Disk disk;
  Gate commits;
  Gate go_on;
  std::atomic<bool> hold{false};
  disk.store.before_put = [&](const std::string&) {
    if (hold) {
      commits.Open();
      go_on.Await();
    }
    return absl::OkStatus();
  };
  DurableServer server(disk);
  const JobHandle job = server.Submit(Blocker("a"));
  ASSERT_TRUE(server.AwaitKept(job).ok());
  hold = true;
  server->control().Cancel(job.live, CancelReason::kRequested);
  commits.Await();
  EXPECT_FALSE(IsEnded(server.Get("a").state));
  hold = false;
  go_on.Open();
  EXPECT_EQ(server.AwaitEnd("a").state, JobState::kCancelled);
  EXPECT_NE(*disk.kept.Get("a"), nullptr);
}

TEST(DurableTest, WhatTheStoreRefusesIsNotAcknowledgedAndDoesNotStay) {
  Disk disk;
  std::atomic<bool> refuse{true};
  disk.store.before_put = [&](const std::string&) {
    return refuse ? absl::UnavailableError("disk is full") : absl::OkStatus();
  };
  DurableServer server(disk);
  JobSpec spec = Blocker("a");
  spec.request = RequestKey{{1, 2}, {3, 4}};
  const JobHandle job = server.Submit(spec);
  const absl::Status status = server.AwaitKept(job);
  EXPECT_TRUE(absl::IsUnavailable(status));
  EXPECT_EQ(ReasonOf(status), "STORE_UNAVAILABLE");
  EXPECT_TRUE(Eventually([&] { return absl::IsNotFound(server->reader().Find("a").status()); }));
  const JobRecord ended = job.Snapshot().record;
  EXPECT_EQ(ended.state, JobState::kCancelled);
  EXPECT_EQ(ReasonOf(ended.outcome->error), "STORE_UNAVAILABLE");
  // Also who asks later, when it has been stopped.
  EXPECT_TRUE(absl::IsUnavailable(server.AwaitKept(job)));
  // While it refuses nobody is let in, but into memory.
  EXPECT_EQ(ReasonOf(server->admission().Submit(NoopSpec()).status()), "STORE_UNAVAILABLE");
  JobSpec in_memory = NoopSpec();
  in_memory.durability = Durability::kMemory;
  EXPECT_TRUE(server->admission().Submit(in_memory).ok());
  refuse = false;
  // It has not been made: the same request makes it, with the same id.
  absl::StatusOr<Submission> again;
  EXPECT_TRUE(Eventually([&] { return (again = server->admission().Submit(spec)).ok(); }));
  EXPECT_FALSE(again->duplicate);
  EXPECT_TRUE(server.AwaitKept(again->job).ok());
  // Who asks for the refused one now is still told why.
  EXPECT_EQ(server.AwaitKept(job).message(), "the store is not available: disk is full");
}

TEST(DurableTest, AnEndOutlastsAStoreThatRefuses) {
  Disk disk;
  std::atomic<bool> refuse{false};
  disk.store.before_put = [&](const std::string&) {
    return refuse ? absl::UnavailableError("disk is full") : absl::OkStatus();
  };
  DurableServer server(disk);
  const JobHandle job = server.Submit(Blocker("a"));
  ASSERT_TRUE(server.AwaitKept(job).ok());
  EXPECT_TRUE(Eventually([&] { return server.Get("a").state == JobState::kRunning; }));
  ASSERT_TRUE(server.AwaitKept(job).ok());  // that it runs, too
  refuse = true;
  server->control().Cancel(job.live, CancelReason::kRequested);
  EXPECT_TRUE(Eventually([&] { return absl::IsUnavailable(server.AwaitChanged("a")); }));
  EXPECT_TRUE(server.AwaitKept(job).ok());  // it was before that
  EXPECT_FALSE(IsEnded(server.Get("a").state));
  JobUpdate update;
  update.display_name = "b";
  EXPECT_EQ(ReasonOf(Update(server->control(), "a", update).status()), "STORE_UNAVAILABLE");
  refuse = false;
  EXPECT_EQ(server.AwaitEnd("a").state, JobState::kCancelled);
}

// What waiters were told.
struct Teller final : Waiter {
  void OnJobEnd(const EndedJob& job) override {
    end = job;
    told.Open();
  }
  void OnJobLeft() override {
    left = true;
    told.Open();
  }
  EndedJob end;  // read once told is open
  bool left = false;
  Gate told;
};

TEST(DurableTest, AJobThatIsRefusedAfterItsEndHasNotSucceeded) {
  Disk disk;
  Gate go_on;
  disk.store.before_put = [&](const std::string&) {
    go_on.Await();
    return absl::UnavailableError("disk is full");
  };
  DurableServer server(disk);
  const auto waiter = std::make_shared<Teller>();
  const absl::StatusOr<Submission> submission = server->admission().Submit(NoopSpec("a"), waiter);
  ASSERT_TRUE(submission.ok());
  EXPECT_TRUE(Eventually([&] { return submission->job.live->EndState() == JobState::kSucceeded; }));
  go_on.Open();
  ASSERT_TRUE(waiter->told.Await());
  EXPECT_EQ(waiter->end->state, JobState::kCancelled);
  EXPECT_EQ(ReasonOf(waiter->end->outcome->error), "STORE_UNAVAILABLE");
  EXPECT_FALSE(waiter->end->outcome->result.has_value());
}

TEST(DurableTest, AJobThatIsLeftIsStillThereToBeSeen) {
  Disk disk;
  DurableServer server(disk);
  server.Submit(Blocker("running"));
  const JobHandle queued = server.Submit(Blocker("queued"));
  const auto waiter = std::make_shared<Teller>();
  queued.Await(waiter);
  EXPECT_TRUE(Eventually([&] { return server.Get("running").state == JobState::kRunning; }));
  server->Close([] {});
  EXPECT_EQ(server->control().LeaveKept(), 1u);
  EXPECT_EQ(server->live_jobs(), 1u);
  EXPECT_EQ(server.Get("queued").state, JobState::kQueued);
  ASSERT_TRUE(waiter->told.Await());
  EXPECT_TRUE(waiter->left);
  const auto late = std::make_shared<Teller>();
  queued.Await(late);
  ASSERT_TRUE(late->told.Await());
  EXPECT_TRUE(late->left);
  // What cannot be done any more is not acknowledged.
  EXPECT_EQ(ReasonOf(server->control().Cancel("queued").status()), "SHUTTING_DOWN");
  JobUpdate update;
  update.priority = 9;
  EXPECT_EQ(ReasonOf(Update(server->control(), "queued", update).status()), "SHUTTING_DOWN");
}

TEST(DurableTest, AJoinOfJobsThatAreLeftEnds) {
  Disk disk;
  DurableServer server(disk);
  server.Submit(Blocker("running"));
  for (const char* const id : {"a", "b"}) server.Submit(Blocker(id));
  EXPECT_TRUE(Eventually([&] { return server.Get("running").state == JobState::kRunning; }));
  struct Wait {
    std::vector<std::string> ids;
    Join::Mode mode;
    bool ends;
  };
  for (const Wait& wait :
       {Wait{{"a", "running"}, Join::Mode::kAll, true}, Wait{{"a", "b"}, Join::Mode::kAny, true},
        Wait{{"a", "running"}, Join::Mode::kAny, false}}) {
    std::atomic<int> told{0};
    std::atomic<Join::Result> result{Join::Result::kEnded};
    const auto join = server->notifier().Wait(wait.ids, wait.mode, std::nullopt, [&](Join::Result how) {
      result = how;
      ++told;
    });
    ASSERT_TRUE(join.ok());
    server->control().LeaveKept();
    EXPECT_EQ(told, wait.ends ? 1 : 0);
    if (wait.ends) {
      EXPECT_EQ(result, Join::Result::kLeft);
    }
    (*join)->Abandon();
  }
}

TEST(DurableTest, AJobThatWasAskedToEndDoesNotRunAgain) {
  Disk disk;
  JobRecord job = MakeRecord("a");
  job.durability = Durability::kDisk;
  job.pool = std::make_shared<const std::string>("blocking");
  Attempt attempt;
  attempt.start_time = absl::Now();
  attempt.stop_steps.push_back({StopStep::Action::kAsked, absl::Now(), /*for_good=*/true});
  job.Start(attempt);
  const JobWrite write{std::make_shared<const JobRecord>(job)};
  ASSERT_TRUE(disk.kept.Commit(absl::MakeConstSpan(&write, 1)).ok());
  DurableServer server(disk);
  const JobRecord ended = server.AwaitEnd("a");
  EXPECT_EQ(ended.state, JobState::kCancelled);
  EXPECT_EQ(ended.attempts.size(), 1u);
  EXPECT_NE(*disk.kept.Get("a"), nullptr);
}

// A job on disk, and who writes it.
struct WrittenJob {
  WrittenJob() { record.durability = Durability::kDisk; }

  Disk disk;
  ThreadRegistry threads;
  prometheus::Registry registry;
  StoreMetrics metrics{registry};
  StoreWriter writer{disk.store, threads, metrics};
  JobRecord record = MakeRecord("a");
};

TEST(DurableTest, ACancelOvertakesTheServersEnd) {
  WrittenJob written;
  StoreWriter& writer = written.writer;
  LiveJob job(written.record);
  const auto control = std::make_shared<RunControl>();
  ASSERT_TRUE(job.Start(Attempt(), control));
  job.AskToEnd(CancelReason::kInterrupted, absl::Now(), nullptr, &writer);
  job.AskToEnd(CancelReason::kRequested, absl::Now(), nullptr, &writer);
  EXPECT_EQ(control->cancel.reason(), CancelReason::kRequested);
  EXPECT_TRUE(job.Snapshot().record.attempts.back().stop_steps.front().for_good);
  EXPECT_FALSE(job.Interrupt(*control, absl::Now(), {}, absl::CancelledError("interrupted")));
  writer.Stop();
}

// Fails as soon as it is asked to end.
class Sulks final : public Handler {
 public:
  absl::StatusOr<Result> Run(const Work&, HandlerContext& context) const override {
    context.cancel.SleepFor(absl::Hours(1));
    return absl::InternalError("sulks");
  }
};

TEST(DurableTest, AnAttemptThatFailsAsTheServerEndsIsRetriedByTheNext) {
  Disk disk;
  {
    DurableServer server(disk, nullptr, [](HandlerRegistry& handlers) {
      handlers.Replace(Kind::kSleep, std::make_unique<Sulks>());
    });
    JobSpec spec = Blocker("a");
    spec.options.retry.max_attempts = 2;
    server.Submit(std::move(spec));
    EXPECT_TRUE(Eventually([&] { return server.Get("a").state == JobState::kRunning; }));
    server.ShutDown();
  }
  DurableServer server(disk);
  EXPECT_TRUE(Eventually([&] { return server.Get("a").state == JobState::kRunning; }));
  EXPECT_EQ(server.Get("a").attempts.size(), 2u);
}

TEST(DurableTest, ThatAJobWasAskedToEndIsKept) {
  WrittenJob written;
  StoreWriter& writer = written.writer;
  LiveJob job(written.record);
  writer.Create({{std::make_shared<const JobRecord>(written.record)}}, [](const absl::Status&) {});
  ASSERT_TRUE(job.Start(Attempt(), std::make_shared<RunControl>()));
  const auto kept_for_good = [&] {
    Gate flushed;
    writer.Flush([&](const absl::Status&) { flushed.Open(); });
    flushed.Await();
    const JobRecord kept = written.disk.kept.ListLive(0, 1)->front();
    return !kept.attempts.empty() && !kept.attempts.back().stop_steps.empty() &&
           kept.attempts.back().stop_steps.front().for_good;
  };
  job.AskToEnd(CancelReason::kTimeout, absl::Now(), nullptr, &writer);
  EXPECT_FALSE(kept_for_good());
  job.AskToEnd(CancelReason::kRequested, absl::Now(), nullptr, &writer);
  EXPECT_TRUE(kept_for_good());
}

TEST(DurableTest, APauseBeforeItServesStays) {
  Disk disk;
  {
    DurableServer server(disk);
    server.Submit(Blocker("a"));
    server.ShutDown();
  }
  DurableServer server(disk, [](Pipeline& pipeline) {
    EXPECT_EQ(pipeline.pools().Find("blocking")->state(), PoolState::kActive);
    EXPECT_EQ(pipeline.pools().Find("blocking")->Load().queued_jobs, 1);
    pipeline.pools().Find("blocking")->Pause();
  });
  EXPECT_EQ(server->pools().Find("blocking")->state(), PoolState::kPaused);
  EXPECT_EQ(server.Get("a").state, JobState::kQueued);
  server->pools().Find("blocking")->Resume();
  EXPECT_TRUE(Eventually([&] { return server.Get("a").state == JobState::kRunning; }));
}

TEST(DurableTest, TheNextServerGoesOnInTheOldOrder) {
  Disk disk;
  std::vector<std::string> ids;
  {
    DurableServer server(disk);
    server.Submit(Blocker("running"));
    for (int i = 0; i < 20; ++i) {
      ids.push_back(absl::StrCat("j", i));
      server.Submit(SleepSpec(absl::ZeroDuration(), ids.back()));
    }
    EXPECT_TRUE(Eventually([&] { return server.Get("running").state == JobState::kRunning; }));
    server.ShutDown();
  }
  EXPECT_EQ(disk.kept.ListLive(0, 100)->size(), 21u);
  DurableServer server(disk);
  ASSERT_TRUE(server.recovered().ok()) << server.recovered();
  EXPECT_EQ(server->live_jobs(), 21u);
  EXPECT_TRUE(Eventually([&] { return server.Get("running").state == JobState::kRunning; }));
  const JobRecord running = server.Get("running");
  ASSERT_EQ(running.attempts.size(), 2u);
  EXPECT_EQ(ReasonOf(running.attempts[0].error), "INTERRUPTED");
  EXPECT_EQ(running.attempts[1].number, 2);
  EXPECT_EQ(running.CountedAttempts(), 1);
  EXPECT_EQ(running.ReadyTime(), running.attempts[0].end_time);  // it has waited since then
  server->control().Cancel(server->reader().Find("running")->live, CancelReason::kRequested);
  absl::Time last = absl::InfinitePast();
  for (const std::string& id : ids) {
    const JobRecord job = server.AwaitEnd(id);
    EXPECT_EQ(job.state, JobState::kSucceeded);
    EXPECT_GE(job.attempts[0].start_time, last);
    last = job.attempts[0].start_time;
  }
  const JobHandle next = server.Submit(NoopSpec());
  EXPECT_EQ(next.Snapshot().record.number, 22u);
}

TEST(DurableTest, RequestsAndEndsAreRememberedByTheNextServer) {
  Disk disk;
  JobSpec spec = NoopSpec("a");
  spec.request = RequestKey{{1, 2}, {3, 4}};
  {
    DurableServer server(disk);
    server.Submit(spec);
    server.AwaitEnd("a");
    server.ShutDown();
  }
  DurableServer server(disk);
  EXPECT_EQ(server.Get("a").state, JobState::kSucceeded);
  spec.id.clear();
  const absl::StatusOr<Submission> again = server->admission().Submit(spec);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_TRUE(again->duplicate);
  EXPECT_EQ(again->job.id(), "a");
  spec.request->payload.low = 5;
  EXPECT_EQ(ReasonOf(server->admission().Submit(spec).status()), "REQUEST_ID_REUSED");
}

TEST(DurableTest, ARunningDaemonEndsWithItsServer) {
  Disk disk;
  DurableServer server(disk);
  JobSpec spec = Blocker("daemon");
  spec.daemon = true;
  server.Submit(spec);
  EXPECT_TRUE(Eventually([&] { return server.Get("daemon").state == JobState::kRunning; }));
  server.ShutDown();
  EXPECT_EQ((*disk.kept.Get("daemon"))->state, JobState::kCancelled);
}

TEST(DurableTest, AScheduledJobKeepsItsTime) {
  Disk disk;
  const absl::Time time = absl::Now() + absl::Hours(1);
  {
    DurableServer server(disk);
    JobSpec spec = NoopSpec("later");
    spec.options.schedule_time = time;
    server.Submit(spec);
    server.ShutDown();
  }
  DurableServer server(disk);
  EXPECT_EQ(server.Get("later").state, JobState::kScheduled);
  EXPECT_EQ(server.Get("later").ReadyTime(), time);
  EXPECT_EQ(server->pools().Find("compute")->Load().scheduled_jobs, 1);
}

TEST(DurableTest, AChangeIsThereForTheNextServer) {
  Disk disk;
  {
    DurableServer server(disk);
    server.Submit(Blocker("running"));
    server.Submit(SleepSpec(absl::Hours(1), "waits"));
    JobUpdate update;
    update.display_name = "renamed";
    update.priority = 9;
    ASSERT_TRUE(Update(server->control(), "waits", update).ok());
    server.ShutDown();
  }
  DurableServer server(disk);
  EXPECT_EQ(server.Get("waits").DisplayName(), "renamed");
  EXPECT_EQ(server.Get("waits").priority, 9);
}

TEST(DurableTest, IdsGoOnThoughTheClockGoesBack) {
  for (const bool ended : {false, true}) {
    Disk disk;
    JobRecord job = MakeRecord("a");
    job.pool = std::make_shared<const std::string>("blocking");
    job.durability = Durability::kDisk;
    job.create_time = absl::Now() + absl::Hours(1);
    if (ended) job.End(JobState::kCancelled, {}, MakeOutcome(job.create_time));
    const JobWrite write{std::make_shared<const JobRecord>(job)};
    ASSERT_TRUE(disk.kept.Commit(absl::MakeConstSpan(&write, 1)).ok());
    DurableServer server(disk);
    EXPECT_GT(server.Submit(NoopSpec()).id(), JobIdMaker(1).Next(job.create_time));
  }
}

TEST(DurableTest, JobsOfAPoolThatIsGoneKeepTheServerFromStarting) {
  Disk disk;
  JobRecord job = MakeRecord("a");
  job.pool = std::make_shared<const std::string>("gone");
  job.durability = Durability::kDisk;
  const JobWrite write{std::make_shared<const JobRecord>(job)};
  ASSERT_TRUE(disk.kept.Commit(absl::MakeConstSpan(&write, 1)).ok());
  DurableServer server(disk);
  EXPECT_TRUE(absl::IsFailedPrecondition(server.recovered()));
  EXPECT_EQ(server->live_jobs(), 0u);
}

}  // namespace
}  // namespace jobpool
