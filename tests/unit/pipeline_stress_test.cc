// Many callers do everything at once, in an order that nobody chose, and what
// must hold always is checked on the way and at the end.

#include <algorithm>
#include <array>
#include <atomic>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "tests/support/metric_reader.h"
#include "tests/support/test_pipeline.h"

namespace jobpool {
namespace {

constexpr int kCallers = 4;
constexpr int kOperationsEach = 1500;

bool SameRecord(const JobRecord& a, const JobRecord& b) {
  return a.id == b.id && a.number == b.number && a.state == b.state && a.DisplayName() == b.DisplayName() &&
         a.Options().labels == b.Options().labels && a.create_time == b.create_time &&
         a.attempts.size() == b.attempts.size() && a.outcome->end_time == b.outcome->end_time &&
         a.outcome->error == b.outcome->error;
}

// How often each job's end was told to the waiter of its submission.
class EndCounter final : public Waiter {
 public:
  void OnJobEnd(const EndedJob& job) override {
    MutexLock lock(mu_);
    ++ends_[job->number];
  }
  void OnJobLeft() override {}
  std::map<uint64_t, int> ends() {
    MutexLock lock(mu_);
    return ends_;
  }

 private:
  Mutex mu_;
  std::map<uint64_t, int> ends_ ABSL_GUARDED_BY(mu_);  // by the job's number
};

class PipelineStressTest : public ::testing::Test {
 protected:
  static TestPipeline::Options Pools() {
    TestPipeline::Options options;
    options.pools = {MakePool("blocking", 0, 3, 50), MakePool("compute", 1, 2, 50)};
    options.pools[0].idle_timeout = absl::Milliseconds(2);  // threads come and go
    return options;
  }

  // Notes what an ended job is like; it must be so for ever.
  void Check(const JobSnapshot& job) {
    if (!IsEnded(job.record.state)) return;
    MutexLock lock(mu_);
    const auto [known, first] = ended_.emplace(job.record.number, job.record);
    EXPECT_TRUE(first || SameRecord(known->second, job.record)) << job.record.id;
  }

  void CheckRollCall() {
    const ActiveCount count = pipeline_.threads().Count();
    const RollCall roll_call = pipeline_.threads().Snapshot();
    if (count.version != roll_call.version) return;
    std::array<int, kThreadRoleCount> by_role{};
    for (const ThreadInfo& thread : roll_call.threads) ++by_role[static_cast<size_t>(thread.role)];
    EXPECT_EQ(count.by_role, by_role);
  }

  std::string AnyId(std::mt19937& random) {
    MutexLock lock(mu_);
    return ids_.empty() ? "none" : ids_[random() % ids_.size()];
  }

  void Submit(std::mt19937& random, const std::string& own_id) {
    const auto choice = random() % 4;
    JobSpec spec = choice == 0 ? NoopSpec() : SleepSpec(absl::Microseconds(random() % 500));
    if (choice == 1) spec.work = SleepWork{absl::Hours(1)};  // somebody will cancel it, or the end does
    if (choice == 2) spec.id = own_id;
    const auto job = pipeline_->admission().Submit(spec, counter_);
    if (!job.ok()) {
      EXPECT_EQ(job.status().code(), absl::StatusCode::kResourceExhausted) << job.status();
      return;
    }
    MutexLock lock(mu_);
    ids_.push_back(job->job.live->id());
    accepted_.push_back(job->job.live);
  }

  void WaitForSome(std::mt19937& random) {
    const std::vector<std::string> ids = {AnyId(random), AnyId(random), AnyId(random)};
    const auto done = std::make_shared<Gate>();
    const auto join =
        pipeline_->notifier().Wait(ids, random() % 2 == 0 ? Join::Mode::kAll : Join::Mode::kAny,
                                   Later(pipeline_->notifier().Now(), absl::Microseconds(random() % 1000)),
                                   [done](Join::Result) { done->Open(); });
    if (!join.ok()) return;
    if (random() % 3 == 0) {
      (*join)->Abandon();
    } else {
      ASSERT_TRUE(done->Await());
      for (const JobHandle& job : (*join)->jobs()) Check(job.Snapshot());
    }
  }

  void ListSome(std::mt19937& random) {
    JobQuery query;
    for (int pages = 0; pages < 3; ++pages) {
      query.limit = 1 + random() % 20;
      const auto page = pipeline_->reader().List(query);
      ASSERT_TRUE(page.ok());
      for (const ListedJob& job : page->jobs) {
        if (query.after.has_value()) {
          EXPECT_TRUE(query.order.Before(*query.after, job.position));
        }
        query.after = job.position;
        Check(job.Snapshot());
      }
      if (!page->next.has_value()) break;
      query.after = page->next;
    }
  }

  void Call(int caller) {
    std::mt19937 random(static_cast<unsigned>(caller) + 1);
    for (int i = 0; i < kOperationsEach; ++i) {
      switch (random() % 8) {
        case 0:
        case 1:
          Submit(random, absl::StrCat("own-", caller, "-", i));
          break;
        case 2:
        case 3:
          pipeline_->control().Cancel(AnyId(random)).status().IgnoreError();
          break;
        case 4:
          Update(pipeline_->control(), AnyId(random), {absl::StrCat("name ", i), std::nullopt})
              .status()
              .IgnoreError();
          break;
        case 5:
          // Few, so that most jobs can be compared again and again.
          if (random() % 8 == 0) Delete(pipeline_->control(), AnyId(random)).IgnoreError();
          CheckRollCall();
          break;
        case 6:
          WaitForSome(random);
          break;
        default:
          ListSome(random);
          if (const auto job = pipeline_->reader().Find(AnyId(random)); job.ok()) Check(job->Snapshot());
      }
    }
  }

  double Sum(const std::string& name, const std::string& kind) const {
    return SumOfSeries(pipeline_.metrics(), name, {{"kind", kind}});
  }

  TestPipeline pipeline_{Pools()};
  const std::shared_ptr<EndCounter> counter_ = std::make_shared<EndCounter>();
  Mutex mu_;
  std::vector<std::string> ids_ ABSL_GUARDED_BY(mu_);
  std::vector<std::shared_ptr<LiveJob>> accepted_ ABSL_GUARDED_BY(mu_);
  std::map<uint64_t, JobRecord> ended_ ABSL_GUARDED_BY(mu_);  // as first seen, by number
};

TEST_F(PipelineStressTest, KeepsItsPromises) {
  std::vector<std::thread> callers;
  for (int caller = 0; caller < kCallers; ++caller) callers.emplace_back([this, caller] { Call(caller); });
  for (std::thread& caller : callers) caller.join();
  Gate empty;
  pipeline_->Close([&] { empty.Open(); });
  pipeline_->control().CancelWhere([](const LiveJob&) { return true; }, CancelReason::kInterrupted);
  ASSERT_TRUE(empty.Await());
  pipeline_->Stop();

  MutexLock lock(mu_);
  const std::map<uint64_t, int> ends = counter_->ends();
  EXPECT_GT(accepted_.size(), 500u);
  EXPECT_EQ(ends.size(), accepted_.size());
  for (const auto& job : accepted_) {
    const JobRecord record = job->Snapshot().record;
    EXPECT_TRUE(IsEnded(record.state)) << record.id;
    const auto told = ends.find(record.number);
    EXPECT_EQ(told != ends.end() ? told->second : 0, 1) << record.id;
    const auto seen = ended_.find(record.number);
    if (seen != ended_.end()) {
      EXPECT_TRUE(SameRecord(seen->second, record)) << record.id;
    }
  }
  EXPECT_EQ(pipeline_->live_jobs(), 0u);
  EXPECT_EQ(pipeline_.threads().Count().total(), 0);
  for (const char* pool : {"blocking", "compute"}) {
    const PoolLoad load = pipeline_->pools().Find(pool)->Load();
    EXPECT_EQ(load.queued_jobs, 0) << pool;
    EXPECT_EQ(load.running_jobs, 0) << pool;
  }
  double submitted = 0;
  for (const char* kind : {"sleep", "noop"}) {
    EXPECT_EQ(Sum("jobpool_jobs_submitted_total", kind), Sum("jobpool_jobs_finished_total", kind)) << kind;
    submitted += Sum("jobpool_jobs_submitted_total", kind);
  }
  EXPECT_EQ(submitted, static_cast<double>(accepted_.size()));
}

}  // namespace
}  // namespace jobpool
