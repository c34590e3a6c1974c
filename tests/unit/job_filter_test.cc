#include "server/query/job_filter.h"

#include <gmock/gmock.h>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tests/support/job_builder.h"

namespace jobpool {
namespace {

JobFilter Filter(absl::string_view text) {
  absl::StatusOr<JobFilter> filter = JobFilter::Parse(text);
  EXPECT_TRUE(filter.ok()) << text << ": " << filter.status();
  return filter.ok() ? *std::move(filter) : JobFilter();
}

bool Matches(absl::string_view text, const JobRecord& job) { return Filter(text).Matches(job); }

absl::Time At(absl::string_view text) {
  absl::Time time;
  std::string error;
  EXPECT_TRUE(absl::ParseTime(absl::RFC3339_full, text, &time, &error)) << error;
  return time;
}

// A job that has every field.
JobRecord Ended() {
  JobRecord job = MakeRecord("a");
  job.create_time = At("2026-01-01T00:00:00Z");
  job.priority = 7;
  job.daemon = true;
  JobOptions options;
  options.display_name = "nightly build";
  options.labels = {{"env", ""}, {"team", "a"}};
  options.retry_of = "first";
  options.schedule_time = At("2026-01-01T00:00:01Z");
  options.deadline_time = At("2026-01-01T00:00:05Z");
  options.retention = absl::Seconds(10);
  job.options = std::make_shared<const JobOptions>(options);
  Attempt attempt;
  attempt.start_time = At("2026-01-01T00:00:02Z");
  EXPECT_TRUE(job.Start(attempt));
  EXPECT_TRUE(job.End(JobState::kFailed, {}, MakeOutcome(At("2026-01-01T00:00:03Z"))));
  return job;
}

// One that has only what every job has.
JobRecord Bare() {
  JobRecord job = MakeRecord("b", 1);
  job.number = 42;
  return job;
}

TEST(JobFilterTest, EmptyMatchesAll) {
  for (const absl::string_view text : {"", " ", "\n\t "}) {
    EXPECT_TRUE(Matches(text, Ended()));
    EXPECT_TRUE(Matches(text, Bare()));
  }
  EXPECT_TRUE(JobFilter().Matches(Bare()));
}

TEST(JobFilterTest, ComparesEveryField) {
  const JobRecord job = Ended();
  for (const absl::string_view text : {
           "state = FAILED",
           "state != RUNNING",
           "kind = sleep",
           "kind != noop",
           "pool = blocking",
           "pool = pools/blocking",
           "pool = \"pools/blocking\"",
           "pool != compute",
           "priority = 7",
           "priority != 6",
           "priority > 6",
           "priority >= 7",
           "priority < 8",
           "priority <= 7",
           "priority > -1",
           "daemon = true",
           "daemon != false",
           "display_name = \"nightly build\"",
           "display_name = 'nightly build'",
           "display_name = nightly*",
           "display_name = \"nightly b*\"",
           "display_name = *",
           "display_name != day*",
           "display_name : \"ly bui\"",
           "display_name:*",
           "display_name != nightly",
           "retry_of = first",
           "retry_of = jobs/first",
           "retry_of != second",
           "retry_of:*",
           "labels.team = a",
           "labels.team = \"a\"",
           "labels.\"team\" = a",
           "labels.team:a",
           "labels.team != b",
           "labels.team:*",
           "labels:team",
           "labels:env",
           "labels.env = \"\"",
           "labels.env:*",
           "create_time = \"2026-01-01T00:00:00Z\"",
           "create_time = 2026-01-01T00:00:00Z",
           "create_time = 2026-01-01T02:00:00.000+02:00",
           "create_time > 2025-12-31T23:59:59.999999999Z",
           "start_time >= 2026-01-01T00:00:02Z",
           "start_time < 2026-01-01T00:00:02.000000001Z",
           "end_time <= '2026-01-01T00:00:03Z'",
           "end_time:*",
           "end_time != 2026-01-01T00:00:02Z",
           "expire_time = 2026-01-01T00:00:13Z",
           "schedule_time = 2026-01-01T00:00:01Z",
           "deadline_time = 2026-01-01T00:00:05z",
       }) {
    EXPECT_TRUE(Matches(text, job)) << text;
    EXPECT_FALSE(Matches(absl::StrCat("NOT ", text), job)) << text;
    EXPECT_FALSE(Matches(absl::StrCat("-", text), job)) << text;
  }
  for (const absl::string_view text : {
           "state = QUEUED",
           "kind = noop",
           "pool = compute",
           "priority = 4",
           "priority > 7",
           "priority < 7",
           "daemon = false",
           "display_name = nightly",
           "display_name = \"nightly build \"",
           "display_name = Nightly*",
           "display_name != nightly*",
           "display_name:Build",
           "retry_of = second",
           "labels.team = A",
           "labels.team = \"\"",
           "labels.tea:*",
           "labels:tea",
           "labels.team != a",
           "create_time < 2026-01-01T00:00:00Z",
           "start_time > 2026-01-01T00:00:02Z",
           "end_time = 2026-01-01T00:00:03.000000001Z",
           "expire_time > 2026-01-01T00:00:13Z",
           "schedule_time < 2026-01-01T00:00:01Z",
           "deadline_time > 2026-01-01T00:00:05Z",
       }) {
    EXPECT_FALSE(Matches(text, job)) << text;
  }
}

TEST(JobFilterTest, AMissingFieldEqualsNothing) {
  for (const absl::string_view field :
       {"start_time", "end_time", "expire_time", "schedule_time", "deadline_time"}) {
    const std::string time = " \"2026-01-01T00:00:00Z\"";
    for (const absl::string_view op : {"=", "<", "<=", ">", ">="}) {
      EXPECT_FALSE(Matches(absl::StrCat(field, op, time), Bare())) << field << op;
    }
    EXPECT_TRUE(Matches(absl::StrCat(field, "!=", time), Bare())) << field;
    EXPECT_FALSE(Matches(absl::StrCat(field, ":*"), Bare())) << field;
  }
  EXPECT_FALSE(Matches("labels.team = \"\"", Bare()));
  EXPECT_TRUE(Matches("labels.team != \"\"", Bare()));
  EXPECT_FALSE(Matches("labels:team", Bare()));
  EXPECT_FALSE(Matches("retry_of = b", Bare()));
  EXPECT_TRUE(Matches("retry_of != b", Bare()));
  EXPECT_FALSE(Matches("retry_of:*", Bare()));
}

TEST(JobFilterTest, SeesTheNameThatTheServerGives) {
  EXPECT_TRUE(Matches("display_name = Job-42", Bare()));
  EXPECT_TRUE(Matches("display_name = Job-*", Bare()));
  EXPECT_FALSE(Matches("display_name = Job-4", Bare()));
}

// AIP-160: OR binds tighter than AND, and what stands side by side is joined by AND.
TEST(JobFilterTest, JoinsAsAip160Says) {
  const auto with = [](int priority) {
    JobRecord job = Bare();
    job.priority = static_cast<uint8_t>(priority);
    return job;
  };
  const auto matching = [&](absl::string_view text) {
    std::string priorities;
    for (int i = 0; i < kPriorities; ++i) {
      if (Matches(text, with(i))) absl::StrAppend(&priorities, i);
    }
    return priorities;
  };
  EXPECT_EQ(matching("priority < 3 AND priority = 1 OR priority = 5"), "1");
  EXPECT_EQ(matching("priority = 1 OR priority = 5 AND priority < 3"), "1");
  EXPECT_EQ(matching("priority = 5 OR (priority < 3 AND priority != 1)"), "025");
  EXPECT_EQ(matching("priority > 3 priority < 6"), "45");
  EXPECT_EQ(matching("priority > 3 priority = 9 OR priority = 2 priority < 10"), "9");
  EXPECT_EQ(matching("NOT priority < 8 AND NOT priority = 9"), "8");
  EXPECT_EQ(matching("-priority > 2 -priority = 0"), "12");
  EXPECT_EQ(matching("NOT (priority < 8 OR priority = 9)"), "8");
  EXPECT_EQ(matching("-(priority < 8)"), "89");
  EXPECT_EQ(matching("((priority=1)OR(priority=2))"), "12");
  EXPECT_EQ(matching(" ( priority = 1 )\nOR\tpriority = 2 "), "12");
}

TEST(JobFilterTest, ReadsEscapes) {
  JobRecord job = Bare();
  JobOptions options;
  options.display_name = "a\"'\\*b";
  job.options = std::make_shared<const JobOptions>(options);
  EXPECT_TRUE(Matches(R"(display_name = "a\"\'\\\*b")", job));
  EXPECT_TRUE(Matches(R"(display_name = 'a"\'\\\*b')", job));
  EXPECT_TRUE(Matches(R"(display_name = "a\"'\\\**")", job));
  EXPECT_TRUE(Matches(R"(display_name : "\\\*")", job));
  EXPECT_FALSE(Matches(R"(display_name : "\\\*\*")", job));
}

TEST(JobFilterTest, SaysWhatIsWrongAndWhere) {
  const struct {
    absl::string_view text;
    int character;
    absl::string_view says;
  } cases[] = {
      {"colour = red", 1, "no field \"colour\""},
      {"priority = 1 AND colour = red", 18, "no field \"colour\""},
      {"state = ACTIVE", 9, "no state \"ACTIVE\""},
      {"state = running", 9, "no state"},
      {"kind = nap", 8, "no kind \"nap\""},
      {"state < RUNNING", 7, "state does not take <"},
      {"state : RUNNING", 7, "state does not take :"},
      {"priority = high", 12, "whole number"},
      {"priority = 99999999999999999999", 12, "whole number"},
      {"daemon = yes", 10, "true or false"},
      {"pool = Blocking", 8, "pools/{pool}"},
      {"pool = jobs/x", 8, "pools/{pool}"},
      {"retry_of = pools/x", 12, "jobs/{id}"},
      {"display_name > a", 14, "does not take >"},
      {"display_name = *a", 16, "only at the end"},
      {"display_name = a**", 16, "only at the end"},
      {"display_name : a*", 16, "stands here alone"},
      {"labels.team = a*", 15, "only at the end"},
      {"labels.Team = a", 8, "key"},
      {"labels. = a", 8, "key"},
      {"labels = a", 8, "labels takes only"},
      {"labels:Team", 8, "key"},
      {"labels:*", 8, "key"},
      {"state.x = RUNNING", 6, "has no fields"},
      {"create_time > yesterday", 15, "RFC 3339"},
      {"create_time > infinite-future", 15, "RFC 3339"},
      {"create_time > 2026-01-01", 15, "RFC 3339"},
      {"create_time > 2026-02-30T00:00:00Z", 15, "RFC 3339"},
      {"create_time > 2026-01-01T00:00:00", 15, "RFC 3339"},
      {"create_time > 2026-01-01T00:00:00.Z", 15, "RFC 3339"},
      {"create_time > 2026-01-01T00:00:00.0123456789Z", 15, "RFC 3339"},
      {"create_time > 2026-01-01T00:00:00+1:00", 15, "RFC 3339"},
      {"create_time : 2026-01-01T00:00:00Z", 13, "does not take : with a value"},
      {"state", 6, "operator is expected"},
      {"state RUNNING", 7, "operator is expected"},
      {"state =", 8, "value is expected"},
      {"state = AND", 9, "value is expected"},
      {"state = \"RUNNING", 9, "not closed"},
      {"state = \"RUNNING\\", 9, "not closed"},
      {"display_name = \"a\\n\"", 18, "\\"},
      {"display_name = \"a\nb\"", 18, "control character"},
      {"state = \"RUNNING\"x", 18, "blank is expected"},
      {"priority = 1=2", 13, "blank is expected"},
      {"(state = RUNNING", 1, "without \")\""},
      {"state = RUNNING)", 16, "without \"(\""},
      {"()", 2, "field is expected"},
      {"AND state = RUNNING", 1, "field is expected"},
      {"state = RUNNING AND", 20, "field is expected"},
      {"state = RUNNING OR", 19, "field is expected"},
      {"state = RUNNING OR OR state = QUEUED", 20, "field is expected"},
      {"NOT", 4, "field is expected"},
      {"NOT NOT state = RUNNING", 5, "field is expected"},
      {"\"state\" = RUNNING", 1, "field is expected"},
      {"display_name = \"\xc3\xa9\xc3\xa9\" x = 1", 21, "no field \"x\""},
  };
  for (const auto& wrong : cases) {
    const absl::Status status = JobFilter::Parse(wrong.text).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << wrong.text;
    EXPECT_TRUE(absl::StartsWith(status.message(), absl::StrCat("at character ", wrong.character, ": ")))
        << wrong.text << ": " << status.message();
    EXPECT_TRUE(absl::StrContains(status.message(), wrong.says)) << wrong.text << ": " << status.message();
  }
  for (const absl::string_view text : {"state = \"\xff\"", "state\x01", "display_name = \"\xc2\x85\""}) {
    EXPECT_EQ(JobFilter::Parse(text).status().message(), "must be UTF-8 without control characters");
  }
}

TEST(JobFilterTest, IsBounded) {
  const auto repeated = [](int times, absl::string_view text) {
    std::string all;
    for (int i = 0; i < times; ++i) absl::StrAppend(&all, text);
    return all;
  };
  EXPECT_TRUE(JobFilter::Parse(repeated(kMaxFilterComparisons, "daemon=true ")).ok());
  EXPECT_THAT(
      std::string(JobFilter::Parse(repeated(kMaxFilterComparisons + 1, "daemon=true ")).status().message()),
      ::testing::HasSubstr("more than 64 comparisons"));
  const auto named = [&](size_t characters) {
    const std::string begin = "display_name = \"";
    return begin + repeated(static_cast<int>(characters - begin.size() - 1), "\xc3\xa9") + "\"";
  };
  EXPECT_TRUE(JobFilter::Parse(named(kMaxFilterCharacters)).ok());
  EXPECT_THAT(std::string(JobFilter::Parse(named(kMaxFilterCharacters + 1)).status().message()),
              ::testing::HasSubstr("at most 2000 characters, has 2001"));
  EXPECT_TRUE(JobFilter::Parse(repeated(32, "(") + "daemon=true" + repeated(32, ")")).ok());
  EXPECT_THAT(
      std::string(JobFilter::Parse(repeated(33, "(") + "daemon=true" + repeated(33, ")")).status().message()),
      ::testing::HasSubstr("at character 33: parentheses more than 32 deep"));
}

TEST(JobFilterTest, KnowsWhatAFacetTells) {
  const Facet facet = {JobState::kQueued, Kind::kSleep, 7, std::nullopt, "blocking"};
  const struct {
    absl::string_view text;
    Truth truth;
  } cases[] = {
      {"", Truth::kTrue},
      {"state = QUEUED", Truth::kTrue},
      {"state = RUNNING", Truth::kFalse},
      {"kind = sleep priority > 6 pool = blocking", Truth::kTrue},
      {"kind = noop", Truth::kFalse},
      {"priority < 7", Truth::kFalse},
      {"pool != blocking", Truth::kFalse},
      {"daemon = true", Truth::kUnknown},
      {"daemon = true AND state = RUNNING", Truth::kFalse},
      {"daemon = true OR state = QUEUED", Truth::kTrue},
      {"daemon = true OR state = RUNNING", Truth::kUnknown},
      {"NOT daemon = true", Truth::kUnknown},
      {"NOT state = QUEUED", Truth::kFalse},
      {"NOT state = RUNNING", Truth::kTrue},
      {"end_time:*", Truth::kFalse},
      {"expire_time != 2026-01-01T00:00:00Z", Truth::kTrue},
      {"start_time:*", Truth::kUnknown},
  };
  for (const auto& expected : cases) {
    EXPECT_EQ(Filter(expected.text).OfFacet(facet), expected.truth) << expected.text;
  }
  EXPECT_EQ(Filter("end_time:*").OfFacet({JobState::kFailed, Kind::kSleep, 7, false, "blocking"}),
            Truth::kUnknown);
  for (const bool daemon : {false, true}) {
    const Facet of_some = {JobState::kQueued, Kind::kSleep, 7, daemon, "blocking"};
    EXPECT_EQ(Filter("daemon = true").OfFacet(of_some), daemon ? Truth::kTrue : Truth::kFalse);
    EXPECT_EQ(Filter("daemon != true").OfFacet(of_some), daemon ? Truth::kFalse : Truth::kTrue);
    EXPECT_EQ(Filter("NOT daemon = false").OfFacet(of_some), daemon ? Truth::kTrue : Truth::kFalse);
  }
}

TEST(JobFilterTest, KnowsWhatEveryMatchHas) {
  const JobFilter filter = Filter(
      "labels.a = 1 AND (labels.b:2 labels:c display_name = x) AND (state = QUEUED OR labels.d = 4) "
      "NOT labels.e = 5 AND create_time > 2026-01-01T00:00:00Z create_time <= 2026-01-01T00:00:09Z "
      "create_time >= 2026-01-01T00:00:05Z display_name = yes* end_time:* start_time != "
      "2026-01-01T00:00:00Z");
  const FilterNeeds& needs = filter.needs();
  EXPECT_EQ(needs.labels, (std::vector<std::pair<std::string, std::string>>{{"a", "1"}, {"b", "2"}}));
  EXPECT_EQ(needs.label_keys, std::vector<std::string>{"c"});
  EXPECT_EQ(needs.display_name, "x");
  EXPECT_EQ(needs.display_name_prefix, "yes");
  const TimeBounds& created = needs.Of(JobField::kCreateTime);
  EXPECT_TRUE(created.needed);
  EXPECT_EQ(created.first, At("2026-01-01T00:00:05Z"));
  EXPECT_EQ(created.last, At("2026-01-01T00:00:09Z"));
  EXPECT_TRUE(needs.Of(JobField::kEndTime).needed);
  EXPECT_EQ(needs.Of(JobField::kEndTime).last, absl::InfiniteFuture());
  EXPECT_FALSE(needs.Of(JobField::kStartTime).needed);
  EXPECT_TRUE(Filter("NOT labels.a = 1").needs().labels.empty());
  EXPECT_FALSE(
      Filter("create_time < 2026-01-01T00:00:05Z OR daemon = true").needs().Of(JobField::kCreateTime).needed);
}

}  // namespace
}  // namespace jobpool
