#include <string>

#include <gtest/gtest.h>

#include "absl/strings/match.h"
#include "client/cli/time_args.h"
#include "client/cli/time_text.h"

namespace jobpool::cli {
namespace {

const absl::Time kNow = absl::FromUnixSeconds(1'700'000'000);

TEST(DurationArgTest, TakesDurationsAndBareSeconds) {
  EXPECT_EQ(*ParseDurationArg("2s"), absl::Seconds(2));
  EXPECT_EQ(*ParseDurationArg("1m30s"), absl::Seconds(90));
  EXPECT_EQ(*ParseDurationArg("2"), absl::Seconds(2));
  EXPECT_EQ(*ParseDurationArg("0.25"), absl::Milliseconds(250));
  EXPECT_EQ(*ParseDurationArg("0"), absl::ZeroDuration());
  EXPECT_EQ(*ParseDurationArg("-3"), absl::Seconds(-3));
  EXPECT_EQ(*ParseDurationArg("7us"), absl::Microseconds(7));
  EXPECT_EQ(*ParseDurationArg("2d"), absl::Hours(48));
  EXPECT_EQ(*ParseDurationArg("1.5d"), absl::Hours(36));
  EXPECT_EQ(*ParseDurationArg("-1d1h30m"), -absl::Minutes(25 * 60 + 30));
}

TEST(DurationArgTest, RefusesTheRest) {
  for (const char* text : {"", "s", "2x", "d", "1dx", "1d-2s", "1h2d", "infd", "inf", "-inf", "nan", "2 s",
                           "1e3", "10000000000000"}) {
    EXPECT_FALSE(ParseDurationArg(text).ok()) << text;
  }
}

TEST(DurationArgTest, NegativeOnesHaveBothPartsOfOneSign) {
  const google::protobuf::Duration duration = ToProto(absl::Milliseconds(-1500));
  EXPECT_EQ(duration.seconds(), -1);
  EXPECT_EQ(duration.nanos(), -500'000'000);
}

TEST(TimeArgTest, TakesRfc3339) {
  const absl::TimeZone utc = absl::UTCTimeZone();
  const absl::Time eight = absl::FromUnixSeconds(1'896'076'800);
  EXPECT_EQ(*ParseTimeArg("2030-01-31T08:00:00Z", utc), eight);
  EXPECT_EQ(*ParseTimeArg("2030-01-31t08:00Z", utc), eight);
  EXPECT_EQ(*ParseTimeArg("2030-01-31T09:00:00+01:00", utc), eight);
  EXPECT_EQ(*ParseTimeArg("2030-01-31T08:00:00.25Z", utc), eight + absl::Milliseconds(250));
}

TEST(TimeArgTest, WithoutAZoneIsLocal) {
  const absl::TimeZone local = absl::FixedTimeZone(2 * 60 * 60);
  const absl::Time six = absl::FromUnixSeconds(1'896'069'600);
  EXPECT_EQ(*ParseTimeArg("2030-01-31T08:00:00", local), six);
  EXPECT_EQ(*ParseTimeArg("2030-01-31T08:00", local), six);
  EXPECT_EQ(*ParseTimeArg("2030-01-31T06:00Z", local), six);
}

TEST(TimeArgTest, RefusesTheRest) {
  for (const char* text : {"", "now", "tomorrow", "08:00", "2030-01-31", "2030-02-30T08:00",
                           "2030-01-31 08:00", "90s", "1700000000", "2030-01-31T24:30", " 2030-01-31T08:00",
                           "2030-01-31T08:00 ", "infinite-future", "-2030-01-31T08:00"}) {
    EXPECT_FALSE(ParseTimeArg(text, absl::UTCTimeZone()).ok()) << text;
  }
}

absl::StatusOr<v1::Job> JobWith(const TimeArgs& args) {
  v1::Job job;
  if (absl::Status status = SetTimes(args, kNow, job); !status.ok()) return status;
  return job;
}

TEST(TimeArgsTest, OnlyWhatWasGivenIsSet) {
  EXPECT_EQ(JobWith({})->ByteSizeLong(), 0);
  const auto scheduled = JobWith({.at = "2030-01-31T08:00:00.5Z", .in = {}, .deadline = {}});
  EXPECT_EQ(FromProto(scheduled->schedule_time()), absl::FromUnixMillis(1'896'076'800'500));
  EXPECT_FALSE(scheduled->has_deadline_time());
}

TEST(TimeArgsTest, DurationsCountFromNow) {
  const auto job = JobWith({.at = {}, .in = "1.5s", .deadline = "1h"});
  EXPECT_EQ(FromProto(job->schedule_time()), kNow + absl::Milliseconds(1500));
  EXPECT_EQ(FromProto(job->deadline_time()), kNow + absl::Hours(1));
  EXPECT_EQ(FromProto(JobWith({.at = {}, .in = "-1h", .deadline = {}})->schedule_time()),
            kNow - absl::Hours(1));
}

TEST(TimeArgsTest, ADeadlineIsATimeOrADuration) {
  EXPECT_EQ(JobWith({.at = {}, .in = {}, .deadline = "2030-01-31T08:00:00Z"})->deadline_time().seconds(),
            1'896'076'800);
  EXPECT_EQ(JobWith({.at = {}, .in = {}, .deadline = "2"})->deadline_time().seconds(), 1'700'000'002);
  const auto bad = JobWith({.at = {}, .in = {}, .deadline = "soon"});
  EXPECT_TRUE(absl::StrContains(bad.status().message(), "--deadline: 'soon' is neither")) << bad.status();
}

TEST(TimeArgsTest, RefusesTimesThatNoMessageHolds) {
  EXPECT_EQ(JobWith({.at = {}, .in = "3000000d", .deadline = {}}).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(JobWith({.at = {}, .in = "-3000000d", .deadline = {}}).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(JobWith({.at = {}, .in = {}, .deadline = "3000000d"}).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(TimeArgsTest, KnowsWhatMovesWithNow) {
  EXPECT_FALSE(DependsOnNow({}));
  EXPECT_FALSE(DependsOnNow({.at = "2030-01-31T08:00Z", .in = {}, .deadline = "2030-01-31T09:00Z"}));
  EXPECT_TRUE(DependsOnNow({.at = {}, .in = "1s", .deadline = {}}));
  EXPECT_TRUE(DependsOnNow({.at = {}, .in = {}, .deadline = "1s"}));
}

}  // namespace
}  // namespace jobpool::cli
