// What callers may give a command: values that arrive as they are, as plain arguments, or are refused.

#include "server/handlers/allowed_command.h"

#include <gmock/gmock.h>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "server/handlers/command_list.h"

namespace jobpool {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;
using Type = CommandParameter::Type;

const std::string kNul("\0", 1);

CommandParameter Parameter(Type type) {
  CommandParameter parameter;
  parameter.name = "x";
  parameter.type = type;
  return parameter;
}

CommandParameter Pattern(const char* pattern) {
  CommandParameter parameter = Parameter(Type::kString);
  parameter.pattern = ParseTextPattern(pattern).value();
  return parameter;
}

void ExpectTakes(const CommandParameter& parameter, const std::vector<std::string>& values) {
  for (const std::string& value : values) EXPECT_EQ(parameter.FaultOf(value), "") << value;
}

void ExpectRefuses(const CommandParameter& parameter, const std::vector<std::string>& values) {
  for (const std::string& value : values) EXPECT_NE(parameter.FaultOf(value), "") << value;
}

TEST(CommandParameterTest, StringsArePrintableUnlessAPatternSaysOtherwise) {
  ExpectTakes(Parameter(Type::kString),
              {"", "a", "$(reboot)", "`id`", "; rm -rf /", "a && b | c > /d", "../../etc/passwd",
               "caf\xc3\xa9", "'\"\\", "*", "~root", "%s%n", "a -x", std::string(4096, 'a')});
  ExpectRefuses(Parameter(Type::kString),
                {"a\nb", "\r", "\t", "\x1b[0m", "\x7f", "\xff", kNul, "a" + kNul, "-", "--x", "-rf",
                 std::string(4097, 'a'), std::string(1 << 20, 'a')});
  ExpectTakes(Pattern("(?s).*"), {"a\nb", "\r\n", "\x1b", ""});
  ExpectRefuses(Pattern("(?s).*"), {"a" + kNul + "b", "-x", std::string(4097, 'a')});
  ExpectTakes(Pattern("[a-z]+"), {"abc"});
  ExpectRefuses(Pattern("[a-z]+"), {"", "abc1", "1abc", "abc\n", "ab c"});
}

TEST(CommandParameterTest, ALeadingDashIsTakenWhereItIsAllowed) {
  CommandParameter parameter = Parameter(Type::kString);
  EXPECT_EQ(parameter.FaultOf("-x"), "must not begin with -");
  parameter.allow_leading_dash = true;
  ExpectTakes(parameter, {"-x", "--", "-"});
}

TEST(CommandParameterTest, WholeNumbers) {
  CommandParameter parameter = Parameter(Type::kInt);
  ExpectTakes(parameter, {"0", "1", "9223372036854775807"});
  ExpectRefuses(parameter, {"", "-1", "-0", "+1", "01", "0x10", " 1", "1 ", "1\n", "1.0", "1e3",
                            "9223372036854775808", "1" + kNul, "one", std::string(4097, '1')});
  parameter.min = -5;
  parameter.max = 5;
  ExpectTakes(parameter, {"-5", "5"});
  ExpectRefuses(parameter, {"-6", "6", "--5"});
  EXPECT_EQ(parameter.FaultOf("6"), "must be a whole number from -5 to 5");
}

TEST(CommandParameterTest, Choices) {
  ExpectTakes(Parameter(Type::kBool), {"true", "false"});
  ExpectRefuses(Parameter(Type::kBool), {"", "True", "1", "true ", "yes"});
  CommandParameter parameter = Parameter(Type::kEnum);
  parameter.values = {"png", "jpg"};
  ExpectTakes(parameter, {"png", "jpg"});
  ExpectRefuses(parameter, {"", "gif", "PNG", "png,jpg", "png\n"});
  EXPECT_EQ(parameter.FaultOf("gif"), "must be one of png, jpg");
}

TEST(CommandParameterTest, PathsStayBelow) {
  ExpectTakes(Parameter(Type::kPath), {"a", "a/b.png", "a b", "...", "..a", "a/.b", "a-b", "$HOME"});
  ExpectRefuses(Parameter(Type::kPath),
                {"", "/", "/etc/passwd", "..", "../a", "a/..", "a/../b", ".", "./a", "a/./b", "a//b", "a/",
                 "-a", "a\n", "a" + kNul, std::string(4097, 'a')});
}

TEST(ArgumentTemplateTest, OneArgumentStaysOne) {
  const auto filled = [](const char* text, const std::string& value) {
    return ArgumentTemplate::Parse(text).value().Fill({{"x", value}});
  };
  EXPECT_EQ(filled("{x}", "a b"), "a b");
  EXPECT_EQ(filled("--name={x}", "a=b --c"), "--name=a=b --c");
  EXPECT_EQ(filled("{x}{x}", "{x}"), "{x}{x}");
  EXPECT_EQ(filled("{{x}", "a"), "{x}");
  EXPECT_EQ(filled("{{{x}}", "a"), "{a}");
  EXPECT_EQ(filled("a}b", ""), "a}b");
  EXPECT_EQ(filled("", ""), "");
  EXPECT_THAT(ArgumentTemplate::Parse("{a}-{b}{{c}{a}")->Names(), ElementsAre("a", "b", "a"));
}

// `greet {who} --times={times}`, with a variable that callers may set.
AllowedCommand Greet() {
  AllowedCommand command;
  command.name = "greet";
  for (const char* const text : {"/bin/greet", "{who}", "--times={times}", "{who}"}) {
    command.argv.push_back(ArgumentTemplate::Parse(text).value());
  }
  CommandParameter who = Parameter(Type::kString);
  who.name = "who";
  who.max_bytes = 65536;
  CommandParameter times = Parameter(Type::kInt);
  times.name = "times";
  times.default_value = "1";
  command.parameters = {who, times};
  command.environment = {"PATH=/bin"};
  command.environment_names = {"LC_ALL"};
  return command;
}

std::string Faults(const CommandCall& call) {
  Violations violations;
  Greet().Check(call, "job.command", violations);
  return violations.empty() ? "" : std::string(violations.ToStatus().message());
}

TEST(AllowedCommandTest, ValuesTakeTheirPlaces) {
  const CommandCall call{"greet", {{"who", "$(id); a"}}, {{"LC_ALL", "x y"}}, ""};
  EXPECT_EQ(Faults(call), "");
  const ProgramSpec spec = Greet().SpecOf(call);
  EXPECT_THAT(spec.argv, ElementsAre("/bin/greet", "$(id); a", "--times=1", "$(id); a"));
  EXPECT_THAT(spec.environment, ElementsAre("PATH=/bin", "LC_ALL=x y"));
  EXPECT_THAT(Greet().SpecOf({"greet", {{"times", "3"}, {"who", ""}}, {}, ""}).argv,
              ElementsAre("/bin/greet", "", "--times=3", ""));
}

TEST(AllowedCommandTest, FaultsSayWhere) {
  EXPECT_EQ(Faults({"greet", {}, {}, ""}), "job.command.arguments[\"who\"]: is required");
  EXPECT_EQ(Faults({"greet", {{"who", "a"}, {"x", "a"}}, {}, ""}),
            "job.command.arguments[\"x\"]: is no parameter of \"greet\"");
  EXPECT_EQ(Faults({"greet", {{"times", "-1"}, {"who", "a"}}, {}, ""}),
            "job.command.arguments[\"times\"]: must be a whole number from 0 to 9223372036854775807");
  EXPECT_EQ(Faults({"greet", {{"who", "a\n"}}, {}, ""}),
            "job.command.arguments[\"who\"]: must be UTF-8 without control characters");
  EXPECT_EQ(Faults({"greet", {{"who", "a"}}, {{"LD_PRELOAD", "/x.so"}}, ""}),
            "job.command.environment[\"LD_PRELOAD\"]: is none that callers may set");
  EXPECT_EQ(Faults({"greet", {{"who", "a"}}, {{"PATH", "/x"}}, ""}),
            "job.command.environment[\"PATH\"]: is none that callers may set");
  EXPECT_EQ(Faults({"greet", {{"who", "a"}}, {{"LC_ALL", "a" + kNul}}, ""}),
            "job.command.environment[\"LC_ALL\"]: must have no NUL");
  EXPECT_EQ(Faults({"greet", {{"who", "a"}}, {{"LC_ALL", std::string(4097, 'a')}}, ""}),
            "job.command.environment[\"LC_ALL\"]: must be at most 4096 bytes, has 4097");
  EXPECT_EQ(Faults({"greet", {{"who", "a"}, {"\x1b[2J", "a"}}, {}, ""}),
            "job.command.arguments[(not printable)]: is no parameter of \"greet\"");
}

TEST(AllowedCommandTest, AllArgumentsTogetherAreBounded) {
  // Twice the value, and 11 + 10 bytes of the others, each with its end.
  const size_t most = (kMaxArgvBytes - (11 + 10) - 2) / 2;
  const auto faults = [](size_t size) {
    return Faults({"greet", {{"who", std::string(size, 'a')}}, {}, ""});
  };
  EXPECT_LT(most, 65536u);
  EXPECT_EQ(faults(most - 1), "");
  EXPECT_THAT(faults(most + 1), StartsWith("job.command.arguments: must make at most 131071 bytes"));
}

TEST(CommandListTest, WhatIsNotOnItIsRefused) {
  CommandList list;
  const auto faults = [&](const CommandCall& call) {
    Violations violations;
    list.Check(call, "requests[1].job.command", violations);
    return violations.empty() ? "" : std::string(violations.ToStatus().message());
  };
  const auto call = [](std::string name) { return CommandCall{std::move(name), {{"who", "a"}}, {}, ""}; };
  EXPECT_THAT(faults(call("greet")),
              StartsWith("requests[1].job.command.name: \"greet\" is none of the commands"));
  list.Set({Greet()});
  EXPECT_THAT(faults(call("greet")), IsEmpty());
  EXPECT_THAT(faults(call("/bin/sh")), StartsWith("requests[1].job.command.name: \"/bin/sh\" is none"));
  EXPECT_THAT(faults(call("")), HasSubstr("command.name"));
  EXPECT_THAT(faults(call(std::string(1 << 20, 'a'))), HasSubstr("command.name"));
  EXPECT_LT(faults(call(std::string(1 << 20, 'a'))).size(), 200u);
  const auto found = list.Find("greet");
  list.Set({});
  EXPECT_EQ(list.Find("greet"), nullptr);
  EXPECT_EQ(found->name, "greet");  // it stays for who has it
}

}  // namespace
}  // namespace jobpool
