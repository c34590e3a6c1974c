// What every store promises, whatever it keeps jobs in: a new one joins with a
// line at the end.

#include "server/store/job_store.h"

#include <algorithm>
#include <atomic>
#include <functional>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "server/store/memory_store.h"
#include "server/store/sqlite_store.h"
#include "tests/support/job_builder.h"
#include "tests/support/query_model.h"
#include "tests/support/temp_dir.h"

namespace jobpool {
namespace {

struct StoreKind {
  std::string name;
  std::function<std::unique_ptr<JobStore>(const TempDir&)> make;  // an empty one, with room for 100,000
};

class JobStoreTest : public ::testing::TestWithParam<StoreKind> {
 protected:
  JobStoreTest() : store_(GetParam().make(dir_)) {}

  void Put(EndedJob job) { ASSERT_TRUE(store_->Put(std::move(job)).ok()); }

  std::vector<std::string> Ids(const std::optional<JobPosition>& after, size_t limit) {
    const auto page = store_->List({.after = after, .limit = limit});
    EXPECT_TRUE(page.ok()) << page.status();
    std::vector<std::string> ids;
    for (const EndedJob& job : page->jobs) ids.push_back(job->id);
    return ids;
  }

  const TempDir dir_;
  std::unique_ptr<JobStore> store_;
};

using Strings = std::vector<std::string>;

TEST_P(JobStoreTest, IsEmptyAtFirst) {
  EXPECT_EQ(*store_->Get("a"), nullptr);
  EXPECT_TRUE(Ids(std::nullopt, 10).empty());
  EXPECT_FALSE(*store_->Delete("a"));
  EXPECT_EQ(*store_->DeleteExpired(absl::InfiniteFuture(), 10), 0u);
}

TEST_P(JobStoreTest, KeepsAllOfARecord) {
  JobRecord record = MakeRecord("a", 7);
  record.number = 42;
  record.work = PrimesWork{1000};
  record.daemon = true;
  JobOptions options;
  options.display_name = "count \xe2\x82\xac";
  options.labels = {{"team", "a"}, {"x", ""}};
  options.retention = absl::Seconds(77);
  record.options = std::make_shared<const JobOptions>(options);
  Attempt attempt;
  attempt.thread_id = 3;
  attempt.thread_display_name = "Thread-3";
  attempt.os_thread_id = 4;
  attempt.process_id = 5;
  attempt.start_time = absl::FromUnixSeconds(8);
  ASSERT_TRUE(record.Start(attempt));
  Outcome outcome = MakeOutcome(absl::FromUnixSeconds(9));
  outcome.result = PrimesResult{168};
  outcome.progress = Progress::Value{1, "done"};
  ASSERT_TRUE(record.End(JobState::kSucceeded, {absl::Seconds(1), absl::Seconds(2)}, outcome));
  Put(std::make_shared<const JobRecord>(record));

  const EndedJob kept = *store_->Get("a");
  ASSERT_NE(kept, nullptr);
  EXPECT_EQ(kept->id, "a");
  EXPECT_EQ(kept->number, 42u);
  EXPECT_EQ(std::get<PrimesWork>(kept->work).limit, 1000);
  EXPECT_EQ(*kept->pool, "blocking");
  EXPECT_TRUE(kept->daemon);
  EXPECT_EQ(kept->create_time, absl::FromUnixSeconds(7));
  EXPECT_EQ(kept->state, JobState::kSucceeded);
  EXPECT_EQ(kept->DisplayName(), options.display_name);
  EXPECT_EQ(kept->Options().labels, options.labels);
  EXPECT_EQ(kept->ExpireTime(), absl::FromUnixSeconds(9 + 77));
  ASSERT_EQ(kept->attempts.size(), 1u);
  EXPECT_EQ(kept->attempts[0].number, 1);
  EXPECT_EQ(kept->attempts[0].thread_display_name, "Thread-3");
  EXPECT_EQ(kept->attempts[0].end_time, absl::FromUnixSeconds(9));
  EXPECT_EQ(kept->attempts[0].usage.system_cpu_time, absl::Seconds(2));
  EXPECT_EQ(std::get<PrimesResult>(*kept->outcome->result).count, 168);
  EXPECT_EQ(kept->outcome->progress->message, "done");
}

TEST_P(JobStoreTest, KeepsTheErrorOfAJob) {
  JobRecord record = MakeRecord("a");
  ASSERT_TRUE(record.Start(Attempt()));
  Outcome outcome = MakeOutcome(absl::FromUnixSeconds(9));
  outcome.error = absl::DataLossError("lost");
  outcome.error.SetPayload("type.googleapis.com/x.Y", absl::Cord("detail"));
  ASSERT_TRUE(record.End(JobState::kFailed, {}, outcome));
  Put(std::make_shared<const JobRecord>(record));
  const EndedJob kept = *store_->Get("a");
  EXPECT_EQ(kept->outcome->error, outcome.error);
  EXPECT_EQ(kept->attempts[0].error, outcome.error);
  EXPECT_FALSE(kept->outcome->result.has_value());
}

TEST_P(JobStoreTest, ForgetsWhatIsDeletedAndTakesItAgain) {
  Put(MakeEnded("a", 1, 2));
  Put(MakeEnded("b", 1, 2));
  EXPECT_TRUE(*store_->Delete("a"));
  EXPECT_FALSE(*store_->Delete("a"));
  EXPECT_EQ(*store_->Get("a"), nullptr);
  EXPECT_EQ(Ids(std::nullopt, 10), Strings{"b"});
  Put(MakeEnded("a", 3, 4));
  EXPECT_EQ((*store_->Get("a"))->create_time, absl::FromUnixSeconds(3));
  EXPECT_EQ(Ids(std::nullopt, 10), (Strings{"a", "b"}));
}

TEST_P(JobStoreTest, AReaderKeepsWhatIsDeleted) {
  Put(MakeEnded("a", 1, 2));
  const EndedJob held = *store_->Get("a");
  EXPECT_TRUE(*store_->Delete("a"));
  EXPECT_EQ(held->id, "a");
}

TEST_P(JobStoreTest, ListsNewestFirstInPagesOfAnySize) {
  std::mt19937 random(42);
  std::vector<std::pair<int64_t, std::string>> oracle;
  for (int i = 0; i < 200; ++i) {
    oracle.emplace_back(static_cast<int64_t>(random() % 20), absl::StrCat("j", i));
    Put(MakeEnded(oracle.back().second, oracle.back().first, 100));
  }
  std::sort(oracle.rbegin(), oracle.rend());
  Strings expected;
  for (const auto& [created, id] : oracle) expected.push_back(id);
  for (const size_t limit : {1, 7, 199, 200, 1000}) {
    Strings ids;
    std::optional<JobPosition> after;
    for (;;) {
      const auto page = store_->List({.after = after, .limit = limit})->jobs;
      EXPECT_LE(page.size(), limit);
      if (page.empty()) break;
      for (const EndedJob& job : page) ids.push_back(job->id);
      ASSERT_LE(ids.size(), expected.size());  // else the pages may have no end
      after = JobPosition{page.back()->create_time, page.back()->id};
    }
    EXPECT_EQ(ids, expected) << limit;
  }
  EXPECT_TRUE(Ids(std::nullopt, 0).empty());
}

TEST_P(JobStoreTest, AfterNeedNotBeThere) {
  for (const int64_t created : {1, 3, 5}) Put(MakeEnded(absl::StrCat("j", created), created, 9));
  EXPECT_EQ(Ids(JobPosition{absl::FromUnixSeconds(4), "x"}, 10), (Strings{"j3", "j1"}));
  EXPECT_EQ(Ids(JobPosition{absl::FromUnixSeconds(3), "j3"}, 10), Strings{"j1"});
  EXPECT_EQ(Ids(JobPosition{absl::FromUnixSeconds(3), "j2"}, 10), Strings{"j1"});
  EXPECT_EQ(Ids(JobPosition{absl::FromUnixSeconds(3), "j4"}, 10), (Strings{"j3", "j1"}));
  EXPECT_TRUE(Ids(JobPosition{absl::UnixEpoch(), "j"}, 10).empty());
}

TEST_P(JobStoreTest, TellsTimesApartThatDifferByANanosecond) {
  JobRecord early = *MakeEnded("b", 1, 9);
  JobRecord late = *MakeEnded("a", 1, 9);
  late.create_time += absl::Nanoseconds(1);
  Put(std::make_shared<const JobRecord>(early));
  Put(std::make_shared<const JobRecord>(late));
  EXPECT_EQ(Ids(std::nullopt, 10), (Strings{"a", "b"}));
}

TEST_P(JobStoreTest, ForgetsWhatHasExpired) {
  Put(MakeEnded("early", 1, 10, absl::Seconds(5)));
  Put(MakeEnded("same", 2, 5, absl::Seconds(10)));
  Put(MakeEnded("late", 3, 10, absl::Seconds(6)));
  EXPECT_EQ(*store_->DeleteExpired(absl::FromUnixSeconds(15) - absl::Nanoseconds(1), 10), 0u);
  EXPECT_EQ(*store_->DeleteExpired(absl::FromUnixSeconds(15), 10), 2u);
  EXPECT_EQ(*store_->DeleteExpired(absl::FromUnixSeconds(15), 10), 0u);
  EXPECT_EQ(Ids(std::nullopt, 10), Strings{"late"});
  EXPECT_EQ(*store_->Get("early"), nullptr);
  EXPECT_EQ(*store_->DeleteExpired(absl::FromUnixSeconds(16), 10), 1u);
}

TEST_P(JobStoreTest, ForgetsInBatches) {
  for (int i = 0; i < 10; ++i) Put(MakeEnded(absl::StrCat("j", i), 1, 2, absl::ZeroDuration()));
  EXPECT_EQ(*store_->DeleteExpired(absl::FromUnixSeconds(2), 0), 0u);
  EXPECT_EQ(*store_->DeleteExpired(absl::FromUnixSeconds(2), 4), 4u);
  EXPECT_EQ(*store_->DeleteExpired(absl::FromUnixSeconds(2), 4), 4u);
  EXPECT_EQ(*store_->DeleteExpired(absl::FromUnixSeconds(2), 4), 2u);
}

std::shared_ptr<const JobRecord> Share(JobRecord job) {
  return std::make_shared<const JobRecord>(std::move(job));
}

Strings IdsOf(const std::vector<JobRecord>& jobs) {
  Strings ids;
  for (const JobRecord& job : jobs) ids.push_back(job.id);
  return ids;
}

JobRecord Ended(JobRecord job, int64_t ended = 100) {
  job.End(JobState::kCancelled, {}, MakeOutcome(absl::FromUnixSeconds(ended)));
  return job;
}

TEST_P(JobStoreTest, KeepsLiveJobsApartFromEndedOnes) {
  JobRecord job = MakeRecord("a", 7);
  JobOptions options;
  options.display_name = "x";
  job.options = std::make_shared<const JobOptions>(options);
  ASSERT_TRUE(store_->Commit({{{Share(job)}}}).ok());
  EXPECT_EQ(*store_->Get("a"), nullptr);
  EXPECT_TRUE(Ids(std::nullopt, 10).empty());
  EXPECT_FALSE(*store_->Delete("a"));
  ASSERT_EQ(IdsOf(*store_->ListLive(0, 10)), Strings{"a"});

  Attempt attempt;
  attempt.start_time = absl::FromUnixSeconds(8);
  ASSERT_TRUE(job.Start(attempt));
  ASSERT_TRUE(store_->Commit({{{Share(job)}}}).ok());
  const std::vector<JobRecord> live = *store_->ListLive(0, 10);
  ASSERT_EQ(live.size(), 1u);
  EXPECT_EQ(live[0].number, job.number);
  EXPECT_EQ(live[0].state, JobState::kRunning);
  EXPECT_EQ(live[0].revision, job.revision);
  EXPECT_EQ(live[0].DisplayName(), "x");
  ASSERT_EQ(live[0].attempts.size(), 1u);
  EXPECT_EQ(live[0].attempts[0].end_time, absl::InfiniteFuture());

  ASSERT_TRUE(store_->Commit({{{Share(Ended(job))}}}).ok());
  EXPECT_TRUE(store_->ListLive(0, 10)->empty());
  EXPECT_EQ((*store_->Get("a"))->state, JobState::kCancelled);
}

TEST_P(JobStoreTest, OfSeveralWritesOfAJobInOneBatchTheLastCounts) {
  const JobRecord first = MakeRecord("a");
  const JobRecord second = MakeRecord("b");
  JobRecord started = second;
  started.Start(Attempt());
  ASSERT_TRUE(
      store_->Commit({{{Share(second)}, {Share(first)}, {Share(started)}, {Share(Ended(first))}}}).ok());
  const std::vector<JobRecord> live = *store_->ListLive(0, 10);
  ASSERT_EQ(IdsOf(live), Strings{"b"});
  EXPECT_EQ(live[0].state, JobState::kRunning);
  EXPECT_NE(*store_->Get("a"), nullptr);
}

TEST_P(JobStoreTest, ListsLiveJobsByNumberInPages) {
  Strings expected;
  std::vector<JobWrite> writes;
  for (int i = 0; i < 100; ++i) {
    JobRecord job = MakeRecord(absl::StrCat("j", i));
    if (i % 3 != 0) expected.push_back(job.id);
    writes.push_back({Share(job)});
  }
  std::shuffle(writes.begin(), writes.end(), std::mt19937(42));
  ASSERT_TRUE(store_->Commit(writes).ok());
  for (const JobWrite& write : writes) {
    int i = 0;
    ASSERT_TRUE(absl::SimpleAtoi(write.job->id.substr(1), &i));
    if (i % 3 == 0) Put(Share(Ended(*write.job)));
  }
  for (const size_t limit : {1, 7, 1000}) {
    Strings ids;
    for (uint64_t after = 0;;) {
      const std::vector<JobRecord> page = *store_->ListLive(after, limit);
      EXPECT_LE(page.size(), limit);
      if (page.empty()) break;
      for (const JobRecord& job : page) ids.push_back(job.id);
      after = page.back().number;
    }
    EXPECT_EQ(ids, expected) << limit;
  }
  EXPECT_TRUE(store_->ListLive(UINT64_MAX, 10)->empty());
}

TEST_P(JobStoreTest, TakesLargeBatchesOfAllSorts) {
  constexpr int kJobs = 500;
  std::vector<JobWrite> made;
  std::vector<JobWrite> ended;
  Strings expected;
  for (int i = 0; i < kJobs; ++i) {
    const JobRecord job = MakeRecord(absl::StrCat("j", i), i);
    made.push_back({Share(job)});
    if (i < 50 || i % 5 != 0) {
      ended.push_back({Share(Ended(job, 1000))});
      expected.insert(expected.begin(), job.id);
    }
  }
  ASSERT_TRUE(store_->Commit(made).ok());
  ASSERT_TRUE(store_->Commit(ended).ok());
  EXPECT_EQ(Ids(std::nullopt, kJobs), expected);
  EXPECT_EQ(store_->ListLive(0, kJobs)->size(), kJobs - expected.size());
}

TEST_P(JobStoreTest, RemembersRequests) {
  Strings expected;
  std::vector<JobWrite> writes;
  for (uint64_t i = 0; i < 20; ++i) {
    JobRecord job = MakeRecord(absl::StrCat("j", i), static_cast<int64_t>(i));
    const RequestKey key{{i / 7 << 60, i << 58 | i}, {i, ~i}};
    writes.push_back({Share(job), key});
    if (i % 2 == 0) writes.push_back({Share(Ended(job))});
  }
  std::shuffle(writes.begin(), writes.end() - 1, std::mt19937(42));
  ASSERT_TRUE(store_->Commit(writes).ok());
  for (const size_t limit : {3, 100}) {
    std::vector<MadeRequest> requests;
    std::optional<RequestId> after;
    for (;;) {
      const std::vector<MadeRequest> page = *store_->ListRequests(after, limit);
      EXPECT_LE(page.size(), limit);
      if (page.empty()) break;
      requests.insert(requests.end(), page.begin(), page.end());
      after = page.back().key.id;
    }
    ASSERT_EQ(requests.size(), 20u) << limit;
    for (size_t i = 0; i < requests.size(); ++i) {
      const RequestId& id = requests[i].key.id;
      const uint64_t n = requests[i].key.payload.high;
      EXPECT_EQ(id, (RequestId{n / 7 << 60, n << 58 | n}));
      EXPECT_EQ(requests[i].key.payload.low, ~n);
      EXPECT_EQ(requests[i].job_id, absl::StrCat("j", n));
      EXPECT_EQ(requests[i].expire_time, absl::FromUnixSeconds(static_cast<int64_t>(n)) + kRequestIdLifetime);
      if (i == 0) continue;
      const RequestId& before = requests[i - 1].key.id;
      EXPECT_TRUE(before.high < id.high || (before.high == id.high && before.low < id.low));
    }
  }
  const absl::Time then = absl::FromUnixSeconds(4) + kRequestIdLifetime;
  EXPECT_TRUE(store_->DeleteExpired(then, 2).ok());
  EXPECT_EQ(store_->ListRequests(std::nullopt, 100)->size(), 18u);
  EXPECT_TRUE(store_->DeleteExpired(then, 100).ok());
  EXPECT_EQ(store_->ListRequests(std::nullopt, 100)->size(), 15u);
}

TEST_P(JobStoreTest, KnowsTheLastNumberAlsoOfJobsThatAreGone) {
  EXPECT_EQ(*store_->LastNumber(), 0u);
  JobRecord job = MakeRecord("a");
  job.number = 70;
  ASSERT_TRUE(store_->Commit({{{Share(job)}}}).ok());
  EXPECT_EQ(*store_->LastNumber(), 70u);
  JobRecord other = MakeRecord("b");
  other.number = 69;
  Put(Share(Ended(other)));
  Put(Share(Ended(job)));
  EXPECT_TRUE(*store_->Delete("a"));
  EXPECT_EQ(*store_->LastNumber(), 70u);
  EXPECT_EQ(*store_->DeleteExpired(absl::InfiniteFuture(), 10), 1u);
  EXPECT_EQ(*store_->LastNumber(), 70u);
}

// Jobs that are kept for very different times do not hide one another.
TEST_P(JobStoreTest, ForgetsWhatHasExpiredInAnyOrder) {
  std::mt19937 random(7);
  std::multiset<int64_t> expiry;
  std::vector<JobWrite> writes;
  for (int i = 0; i < 200; ++i) {
    const int64_t ended = static_cast<int64_t>(Below(random, 200'000));
    const absl::Duration retention = Below(random, 2) == 0
                                         ? kDefaultRetention
                                         : absl::Seconds(static_cast<int64_t>(Below(random, 200'000)));
    writes.push_back({MakeEnded(absl::StrCat("j", i), 0, ended, retention)});
    expiry.insert(ended + absl::ToInt64Seconds(retention));
  }
  const absl::Span<const JobWrite> all(writes);
  ASSERT_TRUE(store_->Commit(all.subspan(0, 150)).ok());
  int64_t now = 150'000;
  const auto forget = [&] {
    const size_t expected = static_cast<size_t>(std::distance(expiry.begin(), expiry.upper_bound(now)));
    size_t forgotten = 0;
    for (;;) {
      const size_t some = *store_->DeleteExpired(absl::FromUnixSeconds(now), 7);
      EXPECT_LE(some, 7u);
      if (some == 0) break;
      forgotten += some;
    }
    return std::make_pair(forgotten, expected);
  };
  for (const JobWrite& write : all.subspan(150)) {
    expiry.erase(expiry.find(absl::ToUnixSeconds(write.job->ExpireTime())));
  }
  const auto [first, first_expected] = forget();
  EXPECT_EQ(first, first_expected);
  expiry.erase(expiry.begin(), expiry.upper_bound(now));
  // These ended before some that were forgotten.
  for (const JobWrite& write : all.subspan(150)) {
    Put(write.job);
    expiry.insert(absl::ToUnixSeconds(write.job->ExpireTime()));
  }
  for (; now <= 500'000; now += 50'000) {
    const auto [forgotten, expected] = forget();
    EXPECT_EQ(forgotten, expected) << now;
    expiry.erase(expiry.begin(), expiry.upper_bound(now));
  }
  EXPECT_TRUE(Ids(std::nullopt, 10).empty());
}

// Against a model that looks at every job.
TEST_P(JobStoreTest, ListsWhatTheModelLists) {
  for (unsigned seed = 0; seed < 25; ++seed) {
    Random random(seed);
    const TempDir dir;
    const std::unique_ptr<JobStore> store = GetParam().make(dir);
    std::vector<std::shared_ptr<const JobRecord>> jobs;
    std::vector<JobWrite> writes;
    for (size_t n = Below(random, 120); n > 0; --n) {
      JobRecord job = RandomJob(random, absl::StrCat("j", n));
      const auto time = [&] { return absl::FromUnixSeconds(static_cast<int64_t>(Below(random, 12))); };
      if (Below(random, 3) != 0) {
        Attempt attempt;
        attempt.start_time = time();
        job.Start(attempt);
      }
      job.End(OneOf<JobState>(random, {JobState::kFailed, JobState::kCancelled}), {}, MakeOutcome(time()));
      jobs.push_back(Share(std::move(job)));
      writes.push_back({jobs.back()});
    }
    ASSERT_TRUE(store->Commit(writes).ok());
    for (size_t n = Below(random, 10); n > 0 && !jobs.empty(); --n) {
      ASSERT_TRUE(*store->Delete(jobs.back()->id));
      jobs.pop_back();
    }
    for (int i = 0; i < 60; ++i) {
      const std::string filter = RandomFilter(random);
      const std::string order = RandomOrder(random);
      JobQuery query{*JobFilter::Parse(filter), *JobOrder::Parse(order), std::nullopt, 1 + Below(random, 20),
                     OneOf<size_t>(random, {1, 2, 3, 10, 1000})};
      Strings ids;
      for (;;) {
        const auto page = store->List(query);
        ASSERT_TRUE(page.ok()) << page.status();
        EXPECT_LE(page->jobs.size(), query.limit);
        for (const EndedJob& job : page->jobs) ids.push_back(job->id);
        if (!page->looked_up_to.has_value()) break;
        ASSERT_TRUE(!query.after.has_value() || query.order.Before(*query.after, *page->looked_up_to))
            << "does not go on: filter \"" << filter << "\", order \"" << order << "\"";
        query.after = query.order.Decode(query.order.Encode(*page->looked_up_to));
      }
      ASSERT_EQ(ids, ExpectedIds(jobs, query.filter, query.order))
          << "seed " << seed << ", filter \"" << filter << "\", order \"" << order << "\", limit "
          << query.limit << ", most " << query.max_looked_at;
    }
  }
}

TEST_P(JobStoreTest, ServesManyThreads) {
  constexpr int kThreads = 4;
  constexpr int kEach = 300;
  for (int i = 0; i < 50; ++i) Put(MakeEnded(absl::StrCat("stays", i), i, 100));
  std::atomic<int> going{kThreads};
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kEach; ++i) {
        const std::string id = absl::StrCat("goes", t, "-", i);
        EXPECT_TRUE(store_->Put(MakeEnded(id, i % 60, 50, absl::Seconds(i % 2))).ok());
        if (i % 2 == 0) {
          // The expiry may be faster.
          const EndedJob got = *store_->Get(id);
          EXPECT_TRUE(got == nullptr || got->id == id);
          EXPECT_TRUE(store_->Delete(id).ok());
        } else {
          EXPECT_TRUE(store_->DeleteExpired(absl::FromUnixSeconds(51), 3).ok());
        }
      }
      --going;
    });
  }
  do {
    std::multiset<std::string> seen;
    std::optional<JobPosition> after;
    for (;;) {
      const auto page = store_->List({.after = after, .limit = 9})->jobs;
      if (page.empty()) break;
      for (const EndedJob& job : page) {
        if (job->id[0] == 's') seen.insert(job->id);
      }
      after = JobPosition{page.back()->create_time, page.back()->id};
    }
    EXPECT_EQ(seen.size(), 50u);
    EXPECT_EQ(std::set<std::string>(seen.begin(), seen.end()).size(), 50u);
  } while (going > 0);
  for (std::thread& thread : threads) thread.join();
  while (*store_->DeleteExpired(absl::FromUnixSeconds(51), 100) > 0) {
  }
  EXPECT_EQ(Ids(std::nullopt, 1000).size(), 50u);
}

INSTANTIATE_TEST_SUITE_P(
    Stores, JobStoreTest,
    ::testing::Values(
        StoreKind{"Memory", [](const TempDir&) { return std::make_unique<MemoryStore>(100'000); }},
        StoreKind{"Sqlite", [](const TempDir& dir) { return *SqliteStore::Open(dir.Path("jobs")); }}),
    [](const auto& kind) { return kind.param.name; });

}  // namespace
}  // namespace jobpool
