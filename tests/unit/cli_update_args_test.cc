// `jobs update` and `pools resize`, from what was given to the request.

#include <gmock/gmock.h>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "absl/strings/match.h"
#include "client/cli/job_update_args.h"
#include "client/cli/pool_update_args.h"

namespace jobpool::cli {
namespace {

using testing::ElementsAre;

const absl::Time kNow = absl::FromUnixSeconds(1'700'000'000);

template <typename Args>
void ExpectRefused(const absl::StatusOr<Args>& request, absl::string_view message) {
  ASSERT_FALSE(request.ok());
  EXPECT_EQ(request.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(absl::StrContains(request.status().message(), message)) << request.status();
}

TEST(JobUpdateArgsTest, TheMaskNamesWhatWasGiven) {
  JobUpdateArgs args;
  args.name = "a";
  args.display_name = "n";
  args.labels = {"team=a"};
  args.priority = 0;
  args.times = {.at = {}, .in = "1m", .deadline = "2m"};
  args.etag = "e";
  const auto request = ToUpdateRequest(args, kNow);
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_THAT(request->update_mask().paths(),
              ElementsAre("display_name", "labels", "priority", "schedule_time", "deadline_time"));
  EXPECT_EQ(request->job().name(), "jobs/a");
  EXPECT_EQ(request->job().display_name(), "n");
  EXPECT_EQ(request->job().labels().at("team"), "a");
  EXPECT_TRUE(request->job().has_priority());
  EXPECT_EQ(request->job().schedule_time().seconds(), 1'700'000'060);
  EXPECT_EQ(request->job().deadline_time().seconds(), 1'700'000'120);
  EXPECT_EQ(request->job().etag(), "e");

  args = {};
  args.priority = 9;
  EXPECT_THAT(ToUpdateRequest(args, kNow)->update_mask().paths(), ElementsAre("priority"));
}

TEST(JobUpdateArgsTest, TimesAreTakenAway) {
  JobUpdateArgs args;
  args.now = true;
  args.no_deadline = true;
  const auto request = ToUpdateRequest(args, kNow);
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_THAT(request->update_mask().paths(), ElementsAre("schedule_time", "deadline_time"));
  EXPECT_FALSE(request->job().has_schedule_time());
  EXPECT_FALSE(request->job().has_deadline_time());
}

TEST(JobUpdateArgsTest, RefusesNothingAndNonsense) {
  JobUpdateArgs args;
  args.etag = "e";
  ExpectRefused(ToUpdateRequest(args, kNow), "nothing to change");
  args.labels = {"team"};
  ExpectRefused(ToUpdateRequest(args, kNow), "KEY=VALUE");
  args.labels.clear();
  args.times.deadline = "soon";
  ExpectRefused(ToUpdateRequest(args, kNow), "--deadline");
}

TEST(PoolUpdateArgsTest, TheMaskNamesWhatWasGiven) {
  PoolUpdateArgs args;
  args.name = "compute";
  args.min_threads = 0;
  args.max_threads = 4;
  args.max_queued_jobs = 1'000;
  args.max_starts_per_second = 0;
  args.max_submits_per_second = 2.5;
  args.idle_timeout = "1m";
  args.stop_grace = "500ms";
  const auto request = ToUpdateRequest(args);
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_THAT(request->update_mask().paths(),
              ElementsAre("min_threads", "max_threads", "max_queued_jobs", "max_starts_per_second",
                          "max_submits_per_second", "idle_timeout", "stop_grace"));
  EXPECT_EQ(request->pool().name(), "pools/compute");
  EXPECT_EQ(request->pool().max_threads(), 4);
  EXPECT_EQ(request->pool().max_queued_jobs(), 1'000);
  EXPECT_EQ(request->pool().max_submits_per_second(), 2.5);
  EXPECT_EQ(request->pool().idle_timeout().seconds(), 60);
  EXPECT_EQ(request->pool().stop_grace().nanos(), 500'000'000);

  args = {};
  args.min_threads = 0;
  EXPECT_THAT(ToUpdateRequest(args)->update_mask().paths(), ElementsAre("min_threads"));
}

TEST(PoolUpdateArgsTest, RefusesNothingAndNonsense) {
  PoolUpdateArgs args;
  args.name = "compute";
  ExpectRefused(ToUpdateRequest(args), "nothing to change");
  args.idle_timeout = "soon";
  ExpectRefused(ToUpdateRequest(args), "--idle-timeout");
  args.idle_timeout.reset();
  args.stop_grace = "soon";
  ExpectRefused(ToUpdateRequest(args), "--stop-grace");
}

}  // namespace
}  // namespace jobpool::cli
