#include "server/job/validation.h"

#include <gmock/gmock.h>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "tests/support/error_details.h"

namespace jobpool {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// The fields that a check found fault with, as the caller is told them.
template <typename Check>
std::vector<std::string> Faults(Check check) {
  Violations violations;
  check(violations);
  const absl::Status status = violations.ToStatus();
  EXPECT_EQ(status.ok(), violations.empty());
  std::vector<std::string> fields;
  if (status.ok()) return fields;
  const auto bad = FindDetail<google::rpc::BadRequest>(status);
  for (const auto& violation : bad->field_violations()) fields.push_back(violation.field());
  return fields;
}

bool IsDisplayName(absl::string_view name, size_t max = 128) {
  return Faults([&](Violations& out) { CheckDisplayName(name, max, "f", out); }).empty();
}

TEST(DisplayNameTest, CountsCharactersNotBytes) {
  EXPECT_FALSE(IsDisplayName(""));
  EXPECT_TRUE(IsDisplayName("x"));
  EXPECT_TRUE(IsDisplayName(std::string(128, 'x')));
  EXPECT_FALSE(IsDisplayName(std::string(129, 'x')));
  for (const char* character : {"\xc3\xa4", "\xe2\x82\xac", "\xf0\x9f\x98\x80"}) {
    std::string name;
    for (int i = 0; i < 4; ++i) name += character;
    EXPECT_TRUE(IsDisplayName(name, 4)) << name;
    EXPECT_FALSE(IsDisplayName(name, 3)) << name;
  }
}

TEST(DisplayNameTest, TakesTheEndsOfEachLengthOfUtf8) {
  for (const absl::string_view name :
       {" ", "~", "\xc2\xa0", "\xdf\xbf", "\xe0\xa0\x80", "\xed\x9f\xbf", "\xee\x80\x80", "\xef\xbf\xbf",
        "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf"}) {
    EXPECT_TRUE(IsDisplayName(name)) << name;
    EXPECT_TRUE(IsDisplayName(absl::StrCat("a", name, "b"), 3)) << name;
  }
}

TEST(DisplayNameTest, RefusesWhatIsNoUtf8) {
  for (const absl::string_view name : {
           "\x80",
           "\xbf",
           "\xc0\x80",
           "\xc1\xbf",  // a lone continuation; overlong of two
           "\xe0\x80\x80",
           "\xe0\x9f\xbf",  // overlong of three
           "\xf0\x80\x80\x80",
           "\xf0\x8f\xbf\xbf",  // overlong of four
           "\xed\xa0\x80",
           "\xed\xbf\xbf",  // surrogates
           "\xf4\x90\x80\x80",
           "\xf5\x80\x80\x80",
           "\xff",  // past U+10FFFF
           "\xc3",
           "\xe2\x82",
           "\xf0\x9f\x98",  // cut
           "\xc3(",
           "\xe2(\x82",
           "\xe2\x82(",
           "\xf0\x9f\x98("  // broken
       }) {
    EXPECT_FALSE(IsDisplayName(name)) << testing::PrintToString(name);
    EXPECT_FALSE(IsDisplayName(absl::StrCat("a", name))) << testing::PrintToString(name);
    EXPECT_FALSE(IsDisplayName(absl::StrCat(name, "b"))) << testing::PrintToString(name);
  }
}

TEST(DisplayNameTest, RefusesControlCharacters) {
  for (int c = 0; c < 0x20; ++c) EXPECT_FALSE(IsDisplayName(std::string(1, static_cast<char>(c)))) << c;
  EXPECT_FALSE(IsDisplayName("\x7f"));
  for (int c = 0x80; c < 0xa0; ++c) {
    EXPECT_FALSE(IsDisplayName(std::string("\xc2") + static_cast<char>(c))) << c;
  }
  EXPECT_FALSE(IsDisplayName(absl::string_view("a\0b", 3)));
}

TEST(JobIdFieldTest, FollowsThePattern) {
  EXPECT_THAT(Faults([](Violations& out) { CheckJobId("a-1", "job_id", out); }), IsEmpty());
  EXPECT_THAT(Faults([](Violations& out) { CheckJobId("", "job_id", out); }), ElementsAre("job_id"));
  EXPECT_THAT(Faults([](Violations& out) { CheckJobId("a-", "job_id", out); }), ElementsAre("job_id"));
}

std::vector<std::string> LabelFaults(const Labels& labels) {
  return Faults([&](Violations& out) { CheckLabels(labels, "labels", out); });
}

Labels NumberedLabels(int count) {
  Labels labels;
  for (int i = 0; i < count; ++i) labels.emplace_back(absl::StrCat("k", i), "v");
  return labels;
}

TEST(LabelsTest, HaveBounds) {
  EXPECT_THAT(LabelFaults({}), IsEmpty());
  EXPECT_THAT(LabelFaults(NumberedLabels(32)), IsEmpty());
  EXPECT_THAT(LabelFaults(NumberedLabels(33)), ElementsAre("labels"));
  EXPECT_THAT(LabelFaults({{std::string(63, 'a'), ""}}), IsEmpty());
  EXPECT_THAT(LabelFaults({{std::string(64, 'a'), ""}}), ElementsAre("labels"));
  std::string euros;
  for (int i = 0; i < 63; ++i) euros += "\xe2\x82\xac";
  EXPECT_THAT(LabelFaults({{"k", std::string(63, 'v')}, {"l", euros}, {"m", ""}}), IsEmpty());
  EXPECT_THAT(LabelFaults({{"k", std::string(64, 'v')}, {"l", euros + "x"}}),
              ElementsAre("labels.k", "labels.l"));
}

TEST(LabelsTest, KeysFollowThePattern) {
  EXPECT_THAT(LabelFaults({{"a", ""}, {"a_b-c9", ""}, {"a-", ""}, {"a_", ""}}), IsEmpty());
  for (const absl::string_view key : {"", "A", "9", "_a", "-a", "a.b", "a b", "aB", "\xc3\xa4"}) {
    EXPECT_THAT(LabelFaults({{std::string(key), ""}}), ElementsAre("labels")) << key;
  }
}

TEST(LabelsTest, ValuesArePrintable) {
  EXPECT_THAT(LabelFaults({{"k", "a\nb"}, {"l", "\xff"}, {"m", "\xc2\x80"}}),
              ElementsAre("labels.k", "labels.l", "labels.m"));
}

// What is said about a key goes into a header: it is short and UTF-8.
TEST(LabelsTest, ShowAKeyThatIsNoneCutOrNotAtAll) {
  Violations violations;
  CheckLabels({{std::string(1 << 20, 'A'), ""}, {"\xff", ""}}, "labels", violations);
  const absl::Status status = violations.ToStatus();
  EXPECT_LT(status.message().size(), 300u);
  const auto bad = FindDetail<google::rpc::BadRequest>(status);
  ASSERT_EQ(bad->field_violations_size(), 2);
  EXPECT_THAT(bad->field_violations(0).description(), HasSubstr(std::string(80, 'A') + "\""));
  EXPECT_THAT(bad->field_violations(1).description(), HasSubstr("(not printable)"));
}

TEST(RangeTest, OfNumbersIsClosed) {
  const auto faults = [](int64_t value) {
    return Faults([&](Violations& out) { CheckRange(value, -1, 5, "f", out); }).size();
  };
  EXPECT_EQ(faults(-2), 1u);
  EXPECT_EQ(faults(-1), 0u);
  EXPECT_EQ(faults(5), 0u);
  EXPECT_EQ(faults(6), 1u);
}

TEST(RangeTest, OfDurationsIsClosed) {
  const auto faults = [](absl::Duration value) {
    return Faults([&](Violations& out) { CheckRange(value, absl::Seconds(5), "f", out); }).size();
  };
  EXPECT_EQ(faults(-absl::Nanoseconds(1)), 1u);
  EXPECT_EQ(faults(absl::ZeroDuration()), 0u);
  EXPECT_EQ(faults(absl::Seconds(5)), 0u);
  EXPECT_EQ(faults(absl::Seconds(5) + absl::Nanoseconds(1)), 1u);
  EXPECT_EQ(faults(absl::InfiniteDuration()), 1u);
  EXPECT_EQ(faults(-absl::InfiniteDuration()), 1u);
}

TEST(PayloadTest, HasABound) {
  const auto faults = [](size_t size) {
    return Faults([&](Violations& out) { CheckPayload(std::string(size, '\0'), "f", out); }).size();
  };
  EXPECT_EQ(faults(0), 0u);
  EXPECT_EQ(faults(1 << 20), 0u);
  EXPECT_EQ(faults((1 << 20) + 1), 1u);
}

TEST(WorkBoundsTest, AreThoseOfTheContract) {
  const auto faults = [](const Work& work) {
    return Faults([&](Violations& out) { CheckWork(work, "job", out); });
  };
  const auto payload = [](size_t size) { return std::make_shared<const std::string>(size, 'x'); };
  for (const Work& work :
       {Work(SleepWork{absl::ZeroDuration()}), Work(SleepWork{absl::Hours(7 * 24)}), Work(PrimesWork{0}),
        Work(PrimesWork{1'000'000'000'000}), Work(FibonacciWork{0}), Work(FibonacciWork{1'000'000}),
        Work(PiWork{1}), Work(PiWork{200'000}), Work(HashWork{0}), Work(HashWork{int64_t{1} << 40}),
        Work(SpinWork{absl::Hours(24)}), Work(NoopWork{}), Work(NoopWork{payload(1 << 20)})}) {
    EXPECT_THAT(faults(work), IsEmpty()) << KindName(KindOf(work));
  }
  const absl::Duration little = absl::Nanoseconds(1);
  EXPECT_THAT(faults(SleepWork{-little}), ElementsAre("job.sleep.duration"));
  EXPECT_THAT(faults(SleepWork{absl::Hours(7 * 24) + little}), ElementsAre("job.sleep.duration"));
  EXPECT_THAT(faults(PrimesWork{-1}), ElementsAre("job.compute.primes.limit"));
  EXPECT_THAT(faults(PrimesWork{1'000'000'000'001}), ElementsAre("job.compute.primes.limit"));
  EXPECT_THAT(faults(FibonacciWork{-1}), ElementsAre("job.compute.fibonacci.index"));
  EXPECT_THAT(faults(FibonacciWork{1'000'001}), ElementsAre("job.compute.fibonacci.index"));
  EXPECT_THAT(faults(PiWork{0}), ElementsAre("job.compute.pi.digits"));
  EXPECT_THAT(faults(PiWork{200'001}), ElementsAre("job.compute.pi.digits"));
  EXPECT_THAT(faults(HashWork{-1}), ElementsAre("job.compute.hash.bytes"));
  EXPECT_THAT(faults(HashWork{(int64_t{1} << 40) + 1}), ElementsAre("job.compute.hash.bytes"));
  EXPECT_THAT(faults(SpinWork{-little}), ElementsAre("job.compute.spin.cpu_time"));
  EXPECT_THAT(faults(SpinWork{absl::Hours(24) + little}), ElementsAre("job.compute.spin.cpu_time"));
  EXPECT_THAT(faults(NoopWork{payload((1 << 20) + 1)}), ElementsAre("job.noop.payload"));
  const auto command = [](size_t arguments, size_t bytes, size_t variables, size_t input) {
    CommandCall call{"c", {}, {}, std::string(input, 'x')};
    for (size_t i = 0; i < arguments; ++i) call.arguments.emplace_back("a", std::string(bytes, 'x'));
    for (size_t i = 0; i < variables; ++i) call.environment.emplace_back("a", "");
    return CommandWork{std::make_shared<const CommandCall>(std::move(call))};
  };
  EXPECT_THAT(faults(command(32, 8190, 32, 1 << 20)), IsEmpty());
  EXPECT_THAT(faults(command(33, 0, 0, 0)), ElementsAre("job.command.arguments"));
  EXPECT_THAT(faults(command(32, 8191, 32, 0)), ElementsAre("job.command.arguments"));
  EXPECT_THAT(faults(command(0, 0, 33, 0)), ElementsAre("job.command.environment"));
  EXPECT_THAT(faults(command(0, 0, 0, (1 << 20) + 1)), ElementsAre("job.command.stdin"));
  const auto custom = [](const std::string& kind, size_t size) {
    return CustomWork{
        std::make_shared<const CustomWork::Call>(CustomWork::Call{kind, std::string(size, 'x')})};
  };
  EXPECT_THAT(faults(custom("word-count", 1 << 20)), IsEmpty());
  EXPECT_THAT(faults(custom(std::string(63, 'a'), 0)), IsEmpty());
  for (const std::string& kind : {std::string(), std::string("A"), std::string("a-"), std::string("a_b"),
                                  std::string("a\nb"), std::string(64, 'a')}) {
    EXPECT_THAT(faults(custom(kind, 0)), ElementsAre("job.custom.kind")) << kind;
  }
  EXPECT_THAT(faults(custom("", (1 << 20) + 1)), ElementsAre("job.custom.kind", "job.custom.payload"));
  EXPECT_THAT(faults(CustomWork{}), ElementsAre("job.custom.kind"));
}

TEST(PrintableTextTest, LeavesNothingThatCannotBeShown) {
  EXPECT_EQ(PrintableText("", 9), "");
  EXPECT_EQ(PrintableText("caf\xc3\xa9 \xf0\x9f\x98\x80", 99), "caf\xc3\xa9 \xf0\x9f\x98\x80");
  EXPECT_EQ(PrintableText("a\tb\r\nc", 99), "a b  c");
  EXPECT_EQ(PrintableText(absl::string_view("a\0\x1b\x7f", 4), 99), "a???");
  EXPECT_EQ(PrintableText("\xff\xc3", 99), "??");
  EXPECT_EQ(PrintableText("\xc2\x85x", 99), "??x");  // a control character of two bytes
  EXPECT_EQ(PrintableText("abcdef", 3), "abc");
  EXPECT_EQ(PrintableText("ab\xc3\xa9", 3), "ab");      // not half a character
  EXPECT_EQ(PrintableText("\xed\xa0\x80", 99), "???");  // a surrogate
}

TEST(ViolationsTest, TellAllAtOnceButNotWithoutEnd) {
  Violations violations;
  EXPECT_TRUE(violations.ToStatus().ok());
  for (int i = 0; i < 1000; ++i) violations.Add(absl::StrCat("f", i), "is wrong");
  const auto bad = FindDetail<google::rpc::BadRequest>(violations.ToStatus());
  EXPECT_EQ(bad->field_violations_size(), 100);
  EXPECT_EQ(bad->field_violations(99).field(), "f99");
}

// gRPC 1.51 takes 8 KiB of metadata for a call, unless told otherwise: with more
// the caller sees RESOURCE_EXHAUSTED in the place of our error. The message goes
// there once as it is and, with the details, once in base64.
TEST(ViolationsTest, FitIntoTheTrailersOfACall) {
  Violations violations;
  for (int i = 0; i < 10'000; ++i)
    violations.Add(absl::StrCat("names[", i, "]"), "must be a name, jobs/{id}");
  const absl::Status status = violations.ToStatus();
  size_t details = status.message().size();
  status.ForEachPayload(
      [&](absl::string_view url, const absl::Cord& payload) { details += url.size() + payload.size(); });
  EXPECT_LT(status.message().size() + details * 4 / 3, 8192u);
}

TEST(CutAtCharacterTest, CutsAtACharactersEnd) {
  EXPECT_EQ(CutAtCharacter("", 0), "");
  EXPECT_EQ(CutAtCharacter("abc", 3), "abc");
  EXPECT_EQ(CutAtCharacter("abc", 4), "abc");
  EXPECT_EQ(CutAtCharacter("abc", 2), "ab");
  EXPECT_EQ(CutAtCharacter("abc", 0), "");
  const absl::string_view mixed = "a\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80z";  // 1 + 2 + 3 + 4 + 1 bytes
  const size_t expected[] = {0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10, 11, 11};
  for (size_t max = 0; max < std::size(expected); ++max) {
    EXPECT_EQ(CutAtCharacter(mixed, max), mixed.substr(0, expected[max])) << max;
  }
  // Not UTF-8: still no more than asked for.
  EXPECT_EQ(CutAtCharacter("\x80\x80\x80", 2), "");
}

}  // namespace
}  // namespace jobpool
