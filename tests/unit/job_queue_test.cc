#include "server/pipeline/job_queue.h"

#include <algorithm>
#include <list>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/support/job_builder.h"

namespace jobpool {
namespace {

using Jobs = std::vector<std::shared_ptr<LiveJob>>;

Jobs PushMany(JobQueue& queue, size_t count) {
  Jobs jobs;
  for (size_t i = 0; i < count; ++i) {
    jobs.push_back(MakeJob(std::to_string(i)));
    queue.Push(jobs.back(), kDefaultPriority);
  }
  return jobs;
}

void ExpectOrder(JobQueue& queue, const Jobs& expected) {
  EXPECT_EQ(queue.size(), expected.size());
  for (const auto& job : expected) {
    EXPECT_EQ(queue.Next({}), job.get());
    EXPECT_EQ(queue.Take({}), job);
  }
  EXPECT_EQ(queue.Take({}), nullptr);
  EXPECT_EQ(queue.Next({}), nullptr);
  EXPECT_EQ(queue.size(), 0u);
}

TEST(JobQueueTest, IsEmptyAtFirst) {
  JobQueue queue;
  ExpectOrder(queue, {});
}

TEST(JobQueueTest, FirstInFirstOut) {
  JobQueue queue;
  ExpectOrder(queue, PushMany(queue, 10));
  ExpectOrder(queue, PushMany(queue, 1));
}

TEST(JobQueueTest, RemovesFromFrontMiddleAndBack) {
  for (size_t count : {1, 2, 3, 5}) {
    for (size_t at = 0; at < count; ++at) {
      JobQueue queue;
      Jobs jobs = PushMany(queue, count);
      EXPECT_TRUE(queue.Remove(*jobs[at]));
      EXPECT_FALSE(queue.Remove(*jobs[at]));
      EXPECT_EQ(jobs[at].use_count(), 1);
      jobs.erase(jobs.begin() + static_cast<std::ptrdiff_t>(at));
      jobs.push_back(MakeJob("last"));
      queue.Push(jobs.back(), kDefaultPriority);
      ExpectOrder(queue, jobs);
    }
  }
}

TEST(JobQueueTest, RemovesAJobThatOnlyItHolds) {
  JobQueue queue;
  Jobs jobs = PushMany(queue, 3);
  LiveJob& middle = *jobs[1];
  jobs.erase(jobs.begin() + 1);
  EXPECT_TRUE(queue.Remove(middle));
  LiveJob& first = *jobs[0];
  jobs.erase(jobs.begin());
  EXPECT_TRUE(queue.Remove(first));
  ExpectOrder(queue, jobs);
}

TEST(JobQueueTest, DoesNotKnowAJobThatWasPopped) {
  JobQueue queue;
  const Jobs jobs = PushMany(queue, 2);
  queue.Take({});
  EXPECT_FALSE(queue.Remove(*jobs[0]));
  EXPECT_FALSE(queue.Remove(*MakeJob("never in")));
  EXPECT_EQ(queue.size(), 1u);
  queue.Push(jobs[0], kDefaultPriority);  // may come again
  ExpectOrder(queue, {jobs[1], jobs[0]});
}

TEST(JobQueueTest, LetsGoOfItsJobs) {
  Jobs jobs;
  {
    JobQueue queue;
    jobs = PushMany(queue, 5);
    queue.Take({});
  }
  for (const auto& job : jobs) EXPECT_EQ(job.use_count(), 1);
}

// Left to the destructors, a million jobs that own one another would take a
// million stack frames, which no stack has.
TEST(JobQueueTest, DestroysALongChainWithoutRecursion) {
  JobQueue queue;
  for (int i = 0; i < 1'000'000; ++i) queue.Push(std::make_shared<LiveJob>(JobRecord()), kDefaultPriority);
  EXPECT_EQ(queue.size(), 1'000'000u);
}

TEST(JobQueueTest, BehavesAsAList) {
  std::mt19937 random(42);
  JobQueue queue;
  std::list<std::shared_ptr<LiveJob>> oracle;
  Jobs out;  // jobs in no queue
  for (int i = 0; i < 64; ++i) out.push_back(MakeJob(std::to_string(i)));
  for (int step = 0; step < 50'000; ++step) {
    const auto choice = random() % 10;
    if (choice < 5 && !out.empty()) {
      std::swap(out[random() % out.size()], out.back());
      oracle.push_back(out.back());
      queue.Push(out.back(), kDefaultPriority);
      out.pop_back();
    } else if (choice < 7) {
      const auto job = queue.Take({});
      ASSERT_EQ(job, oracle.empty() ? nullptr : oracle.front());
      if (job == nullptr) continue;
      oracle.pop_front();
      out.push_back(job);
    } else if (choice < 9 && !oracle.empty()) {
      const auto at = std::next(oracle.begin(), static_cast<std::ptrdiff_t>(random() % oracle.size()));
      ASSERT_TRUE(queue.Remove(**at));
      out.push_back(*at);
      oracle.erase(at);
    } else if (!out.empty()) {
      ASSERT_FALSE(queue.Remove(*out[random() % out.size()]));
    }
    ASSERT_EQ(queue.size(), oracle.size());
    ASSERT_EQ(queue.Next({}), oracle.empty() ? nullptr : oracle.front().get());
  }
  ExpectOrder(queue, Jobs(oracle.begin(), oracle.end()));
}

}  // namespace
}  // namespace jobpool
