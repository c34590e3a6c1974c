#include "server/pipeline/job_table.h"

#include <algorithm>
#include <atomic>
#include <barrier>
#include <chrono>
#include <functional>
#include <memory>
#include <random>
#include <set>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "tests/support/error_details.h"
#include "tests/support/eventually.h"
#include "tests/support/job_builder.h"
#include "tests/support/watchdog.h"

namespace jobpool {
namespace {

constexpr size_t kPlenty = size_t{1} << 30;

std::vector<std::string> IdsOf(const LivePage& page) {
  std::vector<std::string> ids;
  for (const LivePage::Job& job : page.jobs) ids.push_back(job.position.id);
  return ids;
}

std::vector<std::string> IdsOf(const std::vector<std::shared_ptr<LiveJob>>& jobs) {
  std::vector<std::string> ids;
  for (const auto& job : jobs) ids.push_back(job->id());
  return ids;
}

TEST(JobTableTest, FindsWhatItHolds) {
  JobTable table(kPlenty);
  const auto job = MakeJob("a");
  EXPECT_EQ(table.Find("a"), nullptr);
  ASSERT_TRUE(table.Insert(job).ok());
  EXPECT_EQ(table.Find("a"), job);
  EXPECT_EQ(table.Find("b"), nullptr);
  EXPECT_EQ(table.size(), 1u);
  table.Erase(*job);
  EXPECT_EQ(table.Find("a"), nullptr);
  EXPECT_EQ(table.size(), 0u);
  EXPECT_EQ(job.use_count(), 1);
}

TEST(JobTableTest, RefusesASecondJobOfAnId) {
  JobTable table(kPlenty);
  const auto first = MakeJob("a", 1);
  ASSERT_TRUE(table.Insert(first).ok());
  const absl::Status status = table.Insert(MakeJob("a", 2));
  EXPECT_EQ(status.code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(MetadataOf(status)["name"], "jobs/a");
  EXPECT_EQ(table.Find("a"), first);
  EXPECT_EQ(table.size(), 1u);
  EXPECT_EQ(table.List({.limit = 10}).jobs.size(), 1u);
  table.Erase(*first);
  EXPECT_TRUE(table.Insert(MakeJob("a", 2)).ok());
}

TEST(JobTableTest, BoundsThePayloadsOfItsJobs) {
  const auto with_payload = [](absl::string_view id, size_t bytes) {
    JobRecord record = MakeRecord(id);
    record.work = NoopWork{std::make_shared<const std::string>(bytes, 'x')};
    return std::make_shared<LiveJob>(std::move(record));
  };
  JobTable table(100);
  const auto first = with_payload("a", 60);
  ASSERT_TRUE(table.Insert(first).ok());
  const absl::Status status = table.Insert(with_payload("b", 41));
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(ReasonOf(status), "PAYLOADS_FULL");
  EXPECT_FALSE(table.Insert(with_payload("a", 40)).ok());  // taken: gives its bytes back
  EXPECT_TRUE(table.Insert(with_payload("c", 40)).ok());
  EXPECT_TRUE(table.Insert(MakeJob("d")).ok());
  EXPECT_FALSE(table.Insert(with_payload("e", 1)).ok());
  table.Erase(*first);
  EXPECT_TRUE(table.Insert(with_payload("f", 60)).ok());
  EXPECT_EQ(table.size(), 3u);
}

TEST(JobTableTest, ListsNewestFirstInPagesOfAnySize) {
  JobTable table(kPlenty);
  std::vector<std::shared_ptr<LiveJob>> oracle;
  std::mt19937 random(42);
  for (int i = 0; i < 300; ++i) {
    oracle.push_back(MakeJob(absl::StrCat("j", i), static_cast<int64_t>(random() % 50)));  // many of one time
    ASSERT_TRUE(table.Insert(oracle.back()).ok());
  }
  std::sort(oracle.begin(), oracle.end(), [](const auto& a, const auto& b) {
    return std::make_pair(a->create_time(), a->id()) > std::make_pair(b->create_time(), b->id());
  });
  EXPECT_EQ(IdsOf(table.List({.limit = 1000})), IdsOf(oracle));
  for (const size_t limit : {1, 7, 100, 299, 300, 301}) {
    std::vector<std::string> ids;
    std::optional<JobPosition> after;
    for (;;) {
      const auto page = table.List({.after = after, .limit = limit});
      EXPECT_LE(page.jobs.size(), limit);
      if (page.jobs.empty()) break;
      for (const std::string& id : IdsOf(page)) ids.push_back(id);
      ASSERT_LE(ids.size(), oracle.size());  // else the pages may have no end
      after = page.jobs.back().position;
    }
    EXPECT_EQ(ids, IdsOf(oracle)) << limit;
  }
  EXPECT_TRUE(table.List({.limit = 0}).jobs.empty());
  EXPECT_EQ(table.All().size(), 300u);
}

TEST(JobTableTest, AfterNeedNotBeThere) {
  JobTable table(kPlenty);
  for (const int64_t created : {1, 3, 5}) {
    ASSERT_TRUE(table.Insert(MakeJob(absl::StrCat("j", created), created)).ok());
  }
  EXPECT_EQ(IdsOf(table.List({.after = JobPosition{absl::FromUnixSeconds(4), "x"}, .limit = 10})),
            (std::vector<std::string>{"j3", "j1"}));
  EXPECT_EQ(IdsOf(table.List({.after = JobPosition{absl::FromUnixSeconds(3), "j4"}, .limit = 10})),
            (std::vector<std::string>{"j3", "j1"}));
  EXPECT_EQ(IdsOf(table.List({.after = JobPosition{absl::FromUnixSeconds(3), "j3"}, .limit = 10})),
            (std::vector<std::string>{"j1"}));
  EXPECT_TRUE(table.List({.after = JobPosition{absl::UnixEpoch(), ""}, .limit = 10}).jobs.empty());
}

// Of the shards some have looked at as many jobs as they may, each up to another place.
TEST(JobTableTest, SkipsNothingWhereShardsEndEarly) {
  JobTable table(kPlenty);
  std::vector<std::string> expected;
  for (int i = 999; i >= 0; --i) {
    JobRecord record = MakeRecord(absl::StrCat("j", i), i);
    record.daemon = i % 7 == 0 || (i > 300 && i < 350);
    if (record.daemon) expected.push_back(record.id);
    ASSERT_TRUE(table.Insert(std::make_shared<LiveJob>(std::move(record))).ok());
  }
  for (const size_t most : {1, 16, 48, 160, 1000}) {
    JobQuery query;
    query.filter = *JobFilter::Parse("daemon = true");
    query.max_looked_at = most;
    std::vector<std::string> ids;
    for (int pages = 0; pages < 2000; ++pages) {
      const LivePage page = table.List(query);
      for (const std::string& id : IdsOf(page)) ids.push_back(id);
      query.after = page.looked_up_to;
      if (!query.after.has_value()) break;
    }
    EXPECT_EQ(ids, expected) << most;
  }
}

TEST(JobTableTest, PagesNeitherSkipNorRepeatAJobThatStays) {
  JobTable table(kPlenty);
  std::set<std::string> staying;
  for (int i = 0; i < 200; ++i) {
    staying.insert(absl::StrCat("stays", i));
    ASSERT_TRUE(table.Insert(MakeJob(absl::StrCat("stays", i), i % 20)).ok());
  }
  std::atomic<bool> stop{false};
  std::vector<std::thread> churners;
  for (int t = 0; t < 2; ++t) {
    churners.emplace_back([&, t] {
      for (int i = 0; !stop; ++i) {
        const auto job = MakeJob(absl::StrCat("goes", t, "-", i), i % 23 - 1);
        ASSERT_TRUE(table.Insert(job).ok());
        if (i % 3 == 0) std::this_thread::yield();
        table.Erase(*job);
      }
    });
  }
  for (int round = 0; round < 30; ++round) {
    std::multiset<std::string> seen;
    std::optional<JobPosition> after;
    for (;;) {
      const auto page = table.List({.after = after, .limit = 7});
      if (page.jobs.empty()) break;
      for (const LivePage::Job& job : page.jobs) {
        if (after.has_value()) {
          EXPECT_TRUE(JobOrder().Before(*after, job.position));
        }
        after = job.position;
        ASSERT_LT(seen.size(), 2 * staying.size());
        if (staying.count(job.position.id) > 0) seen.insert(job.position.id);
      }
    }
    EXPECT_EQ(seen, std::multiset<std::string>(staying.begin(), staying.end()));
  }
  stop = true;
  for (std::thread& churner : churners) churner.join();
  EXPECT_EQ(table.size(), 200u);
}

TEST(JobTableCloseTest, AnnouncesAtOnceWhenItIsEmpty) {
  JobTable table(kPlenty);
  int announced = 0;
  table.Close([&] { ++announced; });
  EXPECT_EQ(announced, 1);
  const absl::Status status = table.Insert(MakeJob("a"));
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(ReasonOf(status), "SHUTTING_DOWN");
  EXPECT_EQ(announced, 1);
}

TEST(JobTableCloseTest, AnnouncesWithTheLastErase) {
  JobTable table(kPlenty);
  const auto first = MakeJob("a");
  const auto second = MakeJob("b");
  ASSERT_TRUE(table.Insert(first).ok());
  ASSERT_TRUE(table.Insert(second).ok());
  int announced = 0;
  std::thread::id by;
  table.Close([&] {
    ++announced;
    by = std::this_thread::get_id();
    EXPECT_EQ(table.size(), 0u);
    EXPECT_EQ(table.Find("b"), nullptr);
  });
  EXPECT_FALSE(table.Insert(MakeJob("c")).ok());
  table.Erase(*first);
  EXPECT_EQ(announced, 0);
  std::thread eraser([&] { table.Erase(*second); });
  const std::thread::id expected = eraser.get_id();
  eraser.join();
  EXPECT_EQ(announced, 1);
  EXPECT_EQ(by, expected);
}

// Else a server that ends would break off the calls that are being told.
TEST(JobTableCloseTest, IsNotEmptyBeforeThoseWhoWaitAreTold) {
  for (const bool leaves : {false, true}) {
    JobTable table(kPlenty);
    const auto job = MakeJob("a");
    ASSERT_TRUE(table.Insert(job).ok());
    int announced = 0;
    table.Close([&] { ++announced; });
    bool told = false;
    const auto tell = [&] {
      told = true;
      EXPECT_EQ(table.size(), 0u);
      EXPECT_FALSE(table.empty());
      EXPECT_EQ(announced, 0);
    };
    if (leaves) {
      table.Leave(tell);
    } else {
      table.Erase(
          *job, [&] { EXPECT_FALSE(told); }, tell);
    }
    EXPECT_TRUE(told);
    EXPECT_TRUE(table.empty());
    EXPECT_EQ(announced, 1);
  }
}

TEST(JobTableCloseTest, MayCloseTheTableInTheAnnouncement) {
  JobTable table(kPlenty);
  int announced = 0;
  table.Close([&] { table.Close([&] { ++announced; }); });
  EXPECT_EQ(announced, 1);
}

// Jobs come and go while it is closed. Whatever the order: it is announced once,
// nothing is in the table then, and nothing comes in after Close has returned.
TEST(JobTableCloseTest, AnnouncesOnceAndNotTooSoonInAllOrders) {
  constexpr size_t kThreads = 4;
  int too_soon = 0;
  for (int round = 0; round < 500; ++round) {
    JobTable table(kPlenty);
    std::atomic<int> announced{0};
    std::atomic<int> left{0};
    std::atomic<bool> closed{false};
    std::vector<std::thread> threads;
    for (size_t t = 0; t < kThreads; ++t) {
      threads.emplace_back([&, t] {
        for (int i = 0;; ++i) {
          const auto job = MakeJob(absl::StrCat("j", t, "-", i));
          const bool was_closed = closed;
          const bool inserted = table.Insert(job).ok();
          ASSERT_FALSE(inserted && was_closed);
          if (!inserted) return;
          table.Erase(*job);
        }
      });
    }
    if (round % 2 == 0) std::this_thread::yield();
    table.Close([&] {
      ++announced;
      left = static_cast<int>(table.size());
    });
    closed = true;
    for (std::thread& thread : threads) thread.join();
    ASSERT_EQ(announced, 1);
    too_soon += left > 0;
  }
  EXPECT_EQ(too_soon, 0) << "times of 500 there still were jobs when it was announced";
}

// The last job goes while another one comes and the table is closed: with that
// one in it, nothing may be announced.
TEST(JobTableCloseTest, IsNotEmptyWithAJobThatCameWhileTheLastOneWent) {
  // Or fewer on a machine that is busy: four threads meet twice in each.
  constexpr int kRounds = 20'000;
  const auto enough = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  bool done = false;
  std::unique_ptr<JobTable> table;
  std::shared_ptr<LiveJob> last;
  std::shared_ptr<LiveJob> next;
  bool inserted = false;
  int announced = 0;
  int too_soon = 0;
  std::barrier round(4);
  const auto each_round = [&](const std::function<void()>& step) {
    return std::thread([&round, &done, step] {
      for (;;) {
        round.arrive_and_wait();
        if (done) return;
        step();
        round.arrive_and_wait();
      }
    });
  };
  std::thread eraser = each_round([&] { table->Erase(*last); });
  std::thread inserter = each_round([&] { inserted = table->Insert(next).ok(); });
  std::thread closer = each_round([&] { table->Close([&] { ++announced; }); });
  for (int i = 0; i < kRounds && std::chrono::steady_clock::now() < enough; ++i) {
    announced = 0;
    table = std::make_unique<JobTable>(kPlenty);
    last = MakeJob("a");
    next = MakeJob("b");
    ASSERT_TRUE(table->Insert(last).ok());
    round.arrive_and_wait();
    round.arrive_and_wait();
    EXPECT_TRUE(inserted || announced == 1);
    too_soon += inserted && announced > 0;
  }
  done = true;
  round.arrive_and_wait();
  for (std::thread* thread : {&eraser, &inserter, &closer}) thread->join();
  EXPECT_EQ(too_soon, 0);
}

}  // namespace
}  // namespace jobpool
