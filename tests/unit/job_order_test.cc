#include "server/query/job_order.h"

#include <algorithm>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tests/support/job_builder.h"

namespace jobpool {
namespace {

JobOrder Order(absl::string_view text) {
  absl::StatusOr<JobOrder> order = JobOrder::Parse(text);
  EXPECT_TRUE(order.ok()) << text << ": " << order.status();
  return order.ok() ? *std::move(order) : JobOrder();
}

JobRecord Job(absl::string_view id, int64_t created, JobState state, absl::string_view pool, Work work,
              int priority) {
  JobRecord job = MakeRecord(id, created);
  job.state = state;
  job.pool = std::make_shared<const std::string>(pool);
  job.work = std::move(work);
  job.priority = static_cast<uint8_t>(priority);
  return job;
}

std::vector<JobRecord> Jobs() {
  return {Job("a", 1, JobState::kRunning, "y", NoopWork{}, 4),
          Job("b", 2, JobState::kScheduled, "x", SleepWork{}, 9),
          Job("c", 2, JobState::kQueued, "y", HashWork{}, 4),
          Job("d", 3, JobState::kQueued, "x", NoopWork{}, 4)};
}

std::string Sorted(const JobOrder& order, std::vector<JobRecord> jobs) {
  std::sort(jobs.begin(), jobs.end(), [&](const JobRecord& a, const JobRecord& b) {
    return order.Before(order.PositionOf(a), order.PositionOf(b));
  });
  std::string ids;
  for (const JobRecord& job : jobs) ids += job.id;
  return ids;
}

TEST(JobOrderTest, OrdersByFieldsThenByCreation) {
  const struct {
    absl::string_view text;
    absl::string_view ids;
  } cases[] = {
      {"", "dcba"},
      {" ", "dcba"},
      {"create_time desc", "dcba"},
      {"create_time", "abcd"},
      {"priority", "dcab"},
      {"priority desc", "bdca"},
      {" priority  desc , create_time ", "bacd"},
      {"state", "bdca"},
      {"state desc", "adcb"},
      {"kind", "cdab"},
      {"kind desc", "bdac"},
      {"pool", "dbca"},
      {"pool desc,priority", "cadb"},
      {"pool,priority desc,create_time desc", "bdca"},
      {"pool,priority,state desc", "dbac"},
  };
  for (const auto& expected : cases)
    EXPECT_EQ(Sorted(Order(expected.text), Jobs()), expected.ids) << expected.text;
}

TEST(JobOrderTest, OrdersByATimeAndLeavesOutWhatHasNone) {
  std::vector<JobRecord> jobs;
  for (const auto& [id, created, ended] :
       {std::tuple("a", 1, 9), std::tuple("b", 2, 8), std::tuple("c", 3, 9), std::tuple("d", 3, 9)}) {
    jobs.push_back(*MakeEnded(id, created, ended));
  }
  EXPECT_EQ(Sorted(Order("end_time"), jobs), "bdca");
  EXPECT_EQ(Sorted(Order("end_time desc"), jobs), "dcab");
  EXPECT_EQ(Sorted(Order("end_time,create_time desc"), jobs), "bdca");
  EXPECT_TRUE(Order("end_time").Has(jobs[0]));
  EXPECT_FALSE(Order("end_time").Has(MakeRecord("x")));
  for (const absl::string_view time : {"start_time", "schedule_time", "deadline_time"}) {
    EXPECT_FALSE(Order(time).Has(jobs[0])) << time;
  }
}

TEST(JobOrderTest, RefusesWhatNoIndexGives) {
  for (const absl::string_view text :
       {"colour", "display_name", "expire_time", "labels", "priority asc", "priority desc desc", ",",
        "priority,", "priority priority", "priority,priority desc", "create_time,priority",
        "end_time,priority", "priority,end_time", "end_time,create_time", "end_time,start_time", "Priority",
        "\xff"}) {
    const absl::Status status = JobOrder::Parse(text).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << text;
    EXPECT_TRUE(absl::StrContains(status.message(), "followed by create_time")) << status.message();
  }
  EXPECT_TRUE(
      absl::StartsWith(JobOrder::Parse("colour").status().message(), "cannot be ordered by \"colour\""));
}

TEST(JobOrderTest, PositionsBecomeTextAndBack) {
  std::vector<JobRecord> jobs = Jobs();
  jobs.push_back(*MakeEnded("e", 5, 6));
  for (const absl::string_view text :
       {"", "create_time", "priority desc", "state,kind,pool,priority", "end_time desc"}) {
    const JobOrder order = Order(text);
    for (const JobRecord& job : jobs) {
      if (!order.Has(job)) continue;
      const JobPosition position = order.PositionOf(job);
      const std::optional<JobPosition> read = order.Decode(order.Encode(position));
      ASSERT_TRUE(read.has_value()) << text;
      EXPECT_FALSE(order.Before(position, *read) || order.Before(*read, position)) << text;
      EXPECT_EQ(read->id, job.id);
    }
  }
}

TEST(JobOrderTest, RefusesTextThatIsNoPosition) {
  for (const absl::string_view text : {"", "1", "x a", "1 a b"}) {
    EXPECT_FALSE(JobOrder().Decode(text).has_value()) << text;
  }
  EXPECT_TRUE(JobOrder().Decode("1 a").has_value());
  for (const absl::string_view text : {"1 a", "1 a 10", "1 a -1", "1 a x", "1 a 1 1"}) {
    EXPECT_FALSE(Order("priority").Decode(text).has_value()) << text;
  }
  EXPECT_TRUE(Order("priority").Decode("1 a 9").has_value());
  EXPECT_FALSE(Order("state").Decode("1 a 6").has_value());
  EXPECT_FALSE(Order("kind").Decode(absl::StrCat("1 a ", kKindCount)).has_value());
  EXPECT_FALSE(Order("end_time").Decode("1 a x").has_value());
}

}  // namespace
}  // namespace jobpool
