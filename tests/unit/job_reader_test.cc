// Lists of live and ended jobs as one, by filter and order.

#include "server/pipeline/job_reader.h"

#include <algorithm>
#include <atomic>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "server/store/memory_store.h"
#include "tests/support/job_builder.h"
#include "tests/support/test_pipeline.h"
#include "tests/support/watchdog.h"

namespace jobpool {
namespace {

JobQuery Query(absl::string_view filter, absl::string_view order, size_t limit,
               size_t max_looked_at = 10'000) {
  JobQuery query;
  query.filter = *JobFilter::Parse(filter);
  query.order = *JobOrder::Parse(order);
  query.limit = limit;
  query.max_looked_at = max_looked_at;
  return query;
}

std::shared_ptr<LiveJob> Prioritized(absl::string_view id, int64_t created, int priority) {
  JobRecord record = MakeRecord(id, created);
  record.priority = static_cast<uint8_t>(priority);
  return std::make_shared<LiveJob>(std::move(record));
}

class JobReaderTest : public ::testing::Test {
 protected:
  // The ids on all pages.
  std::vector<std::string> All(JobQuery query) {
    std::vector<std::string> ids;
    do {
      const absl::StatusOr<JobPage> page = reader_.List(query);
      if (!page.ok()) break;
      EXPECT_LE(page->jobs.size(), query.limit);
      for (const ListedJob& job : page->jobs) {
        EXPECT_EQ(job.Snapshot().record.id, job.id());
        ids.push_back(job.id());
      }
      ++pages_;
      query.after = page->next;
    } while (query.after.has_value() && pages_ < 10'000);
    return ids;
  }

  JobTable table_;
  MemoryStore store_{100'000};
  JobReader reader_{table_, store_};
  int pages_ = 0;
};

TEST_F(JobReaderTest, MergesLiveAndEndedInEveryOrder) {
  std::vector<JobRecord> records;
  for (int i = 0; i < 400; ++i) {
    const std::string id = absl::StrCat("j", i);
    if (i % 3 == 0) {
      records.push_back(*MakeEnded(id, i % 50, 100 + i % 7));
      ASSERT_TRUE(store_.Put(std::make_shared<const JobRecord>(records.back())).ok());
    } else {
      const auto job = Prioritized(id, i % 50, i % 4);
      records.push_back(job->Snapshot().record);
      ASSERT_TRUE(table_.Insert(job).ok());
    }
  }
  for (const absl::string_view text : {"", "create_time", "priority desc", "state,priority,create_time",
                                       "pool", "kind desc,create_time desc"}) {
    const JobOrder order = *JobOrder::Parse(text);
    std::sort(records.begin(), records.end(), [&](const JobRecord& a, const JobRecord& b) {
      return order.Before(order.PositionOf(a), order.PositionOf(b));
    });
    for (const absl::string_view filter : {"", "priority = 2", "state = CANCELLED", "priority = 9"}) {
      std::vector<std::string> ids;
      for (const JobRecord& record : records) {
        if (JobFilter::Parse(filter)->Matches(record)) ids.push_back(record.id);
      }
      for (const size_t limit : {1, 7, 100, 399, 400, 1000}) {
        for (const size_t looked_at : {1, 50, 10'000}) {
          pages_ = 0;
          ASSERT_EQ(All(Query(filter, text, limit, looked_at)), ids)
              << filter << ", " << text << ", " << limit;
        }
      }
    }
  }
}

TEST_F(JobReaderTest, TheLastPageKnowsThatItIs) {
  for (int i = 0; i < 30; ++i) {
    ASSERT_TRUE(table_.Insert(MakeJob(absl::StrCat("l", i), i)).ok());
    ASSERT_TRUE(store_.Put(MakeEnded(absl::StrCat("e", i), i, 100)).ok());
  }
  for (const size_t limit : {60, 30, 20, 1}) {
    pages_ = 0;
    EXPECT_EQ(All(Query("", "", limit)).size(), 60u);
    EXPECT_EQ(pages_, 60 / static_cast<int>(limit));
  }
}

TEST_F(JobReaderTest, AnEmptyPageGoesOn) {
  for (int i = 0; i < 1000; ++i) ASSERT_TRUE(table_.Insert(MakeJob(absl::StrCat("j", i), i)).ok());
  const absl::StatusOr<JobPage> page = reader_.List(Query("retry_of:*", "", 100, 160));
  ASSERT_TRUE(page.ok());
  EXPECT_TRUE(page->jobs.empty());
  EXPECT_TRUE(page->next.has_value());
  EXPECT_TRUE(All(Query("retry_of:*", "", 100, 160)).empty());
  EXPECT_GT(pages_, 4);
  EXPECT_LT(pages_, 50);
}

// A job that is stored, and has not shown its end yet, is listed as it looks.
TEST_F(JobReaderTest, AnEndThatIsNotShownIsNotListed) {
  const auto job = MakeJob("a", 1);
  ASSERT_TRUE(table_.Insert(job).ok());
  const EndedJob ended =
      job->BeginEnd(JobState::kQueued, JobState::kCancelled, {}, MakeOutcome(absl::FromUnixSeconds(2)));
  ASSERT_TRUE(store_.Put(ended).ok());
  for (const absl::string_view order : {"", "state", "state desc"}) {
    EXPECT_EQ(All(Query("", order, 10)).size(), 1u) << order;
    EXPECT_EQ(All(Query("state = QUEUED", order, 10)).size(), 1u) << order;
    EXPECT_TRUE(All(Query("state = CANCELLED", order, 10)).empty()) << order;
  }
  EXPECT_TRUE(All(Query("", "end_time", 10)).empty());
  EXPECT_EQ(reader_.List(Query("", "", 10))->jobs[0].Snapshot().record.state, JobState::kQueued);
  table_.Erase(*job, [&] { job->FinishEnd(ended); });
  for (const absl::string_view order : {"", "state", "state desc", "end_time"}) {
    EXPECT_TRUE(All(Query("state = QUEUED", order, 10)).empty()) << order;
    EXPECT_EQ(All(Query("state = CANCELLED", order, 10)).size(), 1u) << order;
  }
}

TEST_F(JobReaderTest, FollowsStartsAndUpdates) {
  const auto job = MakeJob("a", 1);
  ASSERT_TRUE(table_.Insert(job).ok());
  ASSERT_TRUE(table_.Change(*job, [&] { return job->Start(Attempt(), std::make_shared<RunControl>()); }));
  EXPECT_TRUE(All(Query("state = QUEUED", "", 10)).empty());
  EXPECT_EQ(All(Query("state = RUNNING", "", 10)).size(), 1u);
  EXPECT_EQ(All(Query("", "start_time", 10)).size(), 1u);
  const auto rename = [&](absl::string_view name) {
    return table_.Change(*job, [&] { return Rename(*job, name).has_value(); });
  };
  ASSERT_TRUE(rename("x"));
  ASSERT_TRUE(rename("y"));
  EXPECT_TRUE(All(Query("display_name = x", "", 10)).empty());
  EXPECT_EQ(All(Query("display_name = y", "", 10)).size(), 1u);
  EXPECT_FALSE(table_.Change(*job, [] { return false; }));
  table_.Erase(*job);
  EXPECT_TRUE(All(Query("", "", 10)).empty());
  EXPECT_TRUE(All(Query("display_name = y", "", 10)).empty());
}

// While jobs start, are renamed and end: what is listed matches, and each job comes once.
TEST(JobReaderRaceTest, WhatIsListedMatches) {
  TestPipeline pipeline;
  std::atomic<bool> stop{false};
  std::thread churner([&] {
    for (int i = 0; !stop; ++i) {
      JobSpec spec = i % 2 == 0 ? NoopSpec() : SleepSpec(absl::Microseconds(200));
      spec.options.labels = {{"team", i % 3 == 0 ? "a" : "b"}};
      const auto job = pipeline.Submit(std::move(spec));
      if (i % 4 == 0) {
        JobUpdate update;
        update.labels = Labels{{"team", "c"}};
        Update(pipeline->control(), job->id(), update).IgnoreError();
      }
      if (i % 200 == 0) pipeline.AwaitEnd(job->id());
    }
  });
  for (int round = 0; round < 300; ++round) {
    for (const absl::string_view filter : {"", "state = RUNNING OR state = QUEUED", "state = SUCCEEDED",
                                           "labels.team = a", "labels.team = c"}) {
      const JobQuery query = Query(filter, round % 2 == 0 ? "" : "state desc", 200);
      const absl::StatusOr<JobPage> page = pipeline->reader().List(query);
      ASSERT_TRUE(page.ok());
      std::map<std::string, int> seen;
      const JobPosition* last = nullptr;
      for (const ListedJob& job : page->jobs) {
        EXPECT_EQ(++seen[job.id()], 1) << filter;
        EXPECT_TRUE(query.filter.Matches(job.Snapshot().record)) << filter;
        if (last != nullptr) {
          EXPECT_TRUE(query.order.Before(*last, job.position));
        }
        last = &job.position;
      }
    }
  }
  stop = true;
  churner.join();
}

}  // namespace
}  // namespace jobpool
