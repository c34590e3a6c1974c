// Jobs that are kept on disk: acknowledged, ended, refused, left and recovered.

#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <prometheus/registry.h>

#include "absl/strings/str_cat.h"
#include "server/job/errors.h"
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
  explicit DurableServer(Disk& disk) : all_(memory_, &disk.store) {
    options_.pools = {MakePool("blocking", 0, 1), MakePool("compute", 0, 1)};
    options_.seed = 7;
    pipeline_ = std::make_unique<Pipeline>(options_, handlers_, all_, threads_, metrics_, Clock::Real(),
                                           &disk.store);
    recovered_ = pipeline_->Recover();
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
      status = how;
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
  const absl::Status status = server.AwaitKept(server.Submit(spec));
  EXPECT_TRUE(absl::IsUnavailable(status));
  EXPECT_EQ(ReasonOf(status), "STORE_UNAVAILABLE");
  const JobRecord ended = server.AwaitEnd("a");
  EXPECT_EQ(ended.state, JobState::kCancelled);
  EXPECT_EQ(ReasonOf(ended.outcome->error), "STORE_UNAVAILABLE");
  // While it refuses nobody is let in, but into memory.
  EXPECT_EQ(ReasonOf(server->admission().Submit(NoopSpec()).status()), "STORE_UNAVAILABLE");
  JobSpec in_memory = NoopSpec();
  in_memory.durability = Durability::kMemory;
  EXPECT_TRUE(server->admission().Submit(in_memory).ok());
  refuse = false;
  // It has not been made: the same request makes it.
  spec.id.clear();
  absl::StatusOr<Submission> again;
  EXPECT_TRUE(Eventually([&] { return (again = server->admission().Submit(spec)).ok(); }));
  EXPECT_FALSE(again->duplicate);
  EXPECT_TRUE(server.AwaitKept(again->job).ok());
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
  EXPECT_TRUE(Eventually([&] { return absl::IsUnavailable(server.AwaitKept(job)); }));
  EXPECT_FALSE(IsEnded(server.Get("a").state));
  refuse = false;
  EXPECT_EQ(server.AwaitEnd("a").state, JobState::kCancelled);
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
    ASSERT_TRUE(server->control().Update("waits", update).ok());
    server.ShutDown();
  }
  DurableServer server(disk);
  EXPECT_EQ(server.Get("waits").DisplayName(), "renamed");
  EXPECT_EQ(server.Get("waits").priority, 9);
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
