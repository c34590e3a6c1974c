// Threads that are not ours and run short work: in roll call, and within the bounds of the pool.

#include "server/workers/guest_threads.h"

#include <algorithm>
#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <unistd.h>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "server/handlers/typed_handler.h"
#include "tests/support/eventually.h"
#include "tests/support/job_builder.h"
#include "tests/support/test_pipeline.h"

namespace jobpool {
namespace {

TEST(GuestThreadsTest, IsInRollCallUntilItEnds) {
  ThreadRegistry registry;
  GuestThreads guests(registry);
  Gate seen;
  pid_t os_thread_id = 0;
  std::thread guest([&] {
    os_thread_id = gettid();
    EXPECT_EQ(&guests.Current(), &guests.Current());
    EXPECT_EQ(registry.Count().total(), 1);
    const ThreadInfo thread = registry.Snapshot().threads.at(0);
    EXPECT_EQ(thread.role, ThreadRole::kWorker);
    EXPECT_EQ(thread.pool, "");
    EXPECT_EQ(thread.display_name, "Thread-1");
    EXPECT_EQ(thread.native_name, "Thread-1");
    EXPECT_EQ(thread.os_thread_id, os_thread_id);
    seen.Open();
  });
  EXPECT_TRUE(seen.Await());
  guest.join();
  EXPECT_EQ(registry.Count().total(), 0);
}

TEST(GuestThreadsTest, LeavesWithWhatItIsAGuestOf) {
  ThreadRegistry registry;
  ThreadRegistry other_registry;
  GuestThreads other(other_registry);
  std::thread([&] {
    for (int i = 1; i <= 3; ++i) {
      auto guests = std::make_unique<GuestThreads>(registry);
      RegistryEntry& here = guests->Current();
      EXPECT_NE(&here, &other.Current());
      EXPECT_EQ(&here, &guests->Current());
      EXPECT_EQ(registry.Count().total(), 1);
      EXPECT_EQ(other_registry.Count().total(), 1);
      guests.reset();
      EXPECT_EQ(registry.Count().total(), 0);
    }
  }).join();
  EXPECT_EQ(other_registry.Count().total(), 0);
}

// Does what it is told in the place of noop, and counts how many do so at a time.
class Counting final : public TypedHandler<NoopWork> {
 public:
  struct State {
    std::atomic<int> now{0};
    std::atomic<int> most{0};
    std::function<void()> act;  // of work with a payload
  };
  explicit Counting(State& state) : state_(state) {}

 private:
  bool IsShortTyped(const NoopWork&) const override { return true; }
  absl::StatusOr<Result> RunTyped(const NoopWork& work, HandlerContext&) const override {
    const int now = ++state_.now;
    for (int most = state_.most.load(); most < now && !state_.most.compare_exchange_weak(most, now);) {
    }
    if (work.payload != nullptr) state_.act();
    --state_.now;
    return NoopResult();
  }

  State& state_;
};

class ShortWorkTest : public testing::Test {
 protected:
  void Start(int max_threads) {
    TestPipeline::Options options;
    options.pools = {MakePool("blocking", 0, 1), MakePool("compute", 0, max_threads)};
    options.replace_handlers = [this](HandlerRegistry& handlers) {
      handlers.Replace(Kind::kNoop, std::make_unique<Counting>(counted_));
    };
    pipeline_.emplace(options);
  }

  std::shared_ptr<LiveJob> Submit(JobSpec spec, bool may_run_here) {
    auto submission = (*pipeline_)->admission().Submit(std::move(spec), nullptr, may_run_here);
    EXPECT_TRUE(submission.ok()) << submission.status();
    return submission->job.live;
  }

  JobState StateOfOne(bool may_run_here) { return TestPipeline::StateOf(*Submit(NoopSpec(), may_run_here)); }

  static JobSpec Acting() {
    JobSpec spec = NoopSpec();
    spec.work = NoopWork{std::make_shared<const std::string>("act")};
    return spec;
  }

  Dispatcher& pool() { return *(*pipeline_)->pools().Find("compute"); }
  JobRecord End(const LiveJob& job) { return pipeline_->AwaitEnd(job.id()).record; }

  Counting::State counted_;  // outlives the workers
  std::optional<TestPipeline> pipeline_;
};

TEST_F(ShortWorkTest, RunsOnTheThreadThatBringsIt) {
  Start(1);
  std::thread([&] {
    const auto job = Submit(NoopSpec(), true);
    const JobRecord record = job->Snapshot().record;
    EXPECT_EQ(record.state, JobState::kSucceeded);
    ASSERT_EQ(record.attempts.size(), 1u);
    EXPECT_EQ(record.attempts[0].os_thread_id, gettid());
    const auto thread = pipeline_->threads().Find(record.attempts[0].thread_id);
    ASSERT_TRUE(thread.has_value());
    EXPECT_EQ(thread->display_name, record.attempts[0].thread_display_name);
    EXPECT_EQ(thread->jobs_run, 1u);
    EXPECT_EQ(thread->state, ThreadState::kIdle);
  }).join();
  EXPECT_EQ(pool().Load().threads, 0);
  EXPECT_NE(End(*Submit(NoopSpec(), false)).attempts.at(0).os_thread_id, gettid());
}

TEST_F(ShortWorkTest, OfAPausedPoolWaits) {
  Start(1);
  pool().Pause();
  const auto job = Submit(NoopSpec(), true);
  EXPECT_EQ(TestPipeline::StateOf(*job), JobState::kQueued);
  EXPECT_EQ(StateOfOne(true), JobState::kQueued);
  pool().Resume();
  EXPECT_NE(End(*job).attempts.at(0).os_thread_id, gettid());
}

TEST_F(ShortWorkTest, WaitsForAWorkerOfAFullPool) {
  Start(1);
  const auto blocker = pipeline_->SubmitBlocker("compute");
  const auto job = Submit(NoopSpec(), true);
  EXPECT_EQ(TestPipeline::StateOf(*job), JobState::kQueued);
  (*pipeline_)->control().Cancel(blocker, CancelReason::kRequested);
  EXPECT_EQ(End(*job).state, JobState::kSucceeded);
}

TEST_F(ShortWorkTest, ThatIsScheduledOrAsksForAProcessIsAsOther) {
  Start(1);
  JobSpec scheduled = NoopSpec();
  scheduled.options.schedule_time = absl::Now() + absl::Hours(1);
  EXPECT_EQ(TestPipeline::StateOf(*Submit(scheduled, true)), JobState::kScheduled);
  JobSpec apart = NoopSpec();
  apart.isolation = Isolation::kProcess;
  EXPECT_EQ(End(*Submit(apart, true)).state, JobState::kFailed);  // there are no processes
}

// A pool of one runs one job at a time, whoever runs it.
TEST_F(ShortWorkTest, AWorkerWaitsForAGuest) {
  Start(1);
  Gate begun;
  Gate done;
  counted_.act = [&] {
    begun.Open();
    EXPECT_TRUE(done.Await());
  };
  std::thread guest([&] { EXPECT_EQ(TestPipeline::StateOf(*Submit(Acting(), true)), JobState::kSucceeded); });
  ASSERT_TRUE(begun.Await());
  const auto next = Submit(NoopSpec(), false);
  const auto after = Submit(NoopSpec(), true);
  // A worker has come, and has found that it has to wait.
  EXPECT_TRUE(Eventually([&] { return pool().Load().idle_threads == 1 && !pool().HasWork(); }));
  EXPECT_EQ(TestPipeline::StateOf(*next), JobState::kQueued);
  EXPECT_EQ(TestPipeline::StateOf(*after), JobState::kQueued);
  done.Open();
  guest.join();
  EXPECT_EQ(End(*next).state, JobState::kSucceeded);
  EXPECT_EQ(End(*after).state, JobState::kSucceeded);
  EXPECT_EQ(counted_.most.load(), 1);
}

// A guest that is done while workers come and go must not leave a job behind.
TEST_F(ShortWorkTest, ManyAtOnceStayWithinTheMaximum) {
  constexpr int kThreads = 4;
  constexpr int kJobs = 500;
  Start(2);
  counted_.act = [] { std::this_thread::yield(); };
  std::vector<std::thread> threads;
  std::vector<std::vector<std::shared_ptr<LiveJob>>> jobs(kThreads);
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&, i] {
      for (int n = 0; n < kJobs; ++n) {
        jobs[static_cast<size_t>(i)].push_back(Submit(n % 3 == 0 ? Acting() : NoopSpec(), (n + i) % 2 == 0));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const auto& some : jobs) {
    for (const auto& job : some) EXPECT_EQ(End(*job).state, JobState::kSucceeded);
  }
  EXPECT_LE(counted_.most.load(), 2);
}

}  // namespace
}  // namespace jobpool
