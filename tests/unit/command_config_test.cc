// What the config file says of commands: what is left out, what is refused, and where.

#include <gmock/gmock.h>
#include <string>
#include <utility>

#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "server/config/config_file.h"

namespace jobpool {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr char kHead[] = R"(name: "c" argv: "/bin/true")";

AllowedCommand One(const std::string& fields) {
  auto config = ConfigFile::Parse(absl::StrCat("commands { ", fields, " }"));
  EXPECT_TRUE(config.ok()) << config.status();
  return config.ok() ? std::move(config->commands.at(0)) : AllowedCommand();
}

std::string Why(const std::string& text) {
  const absl::Status status = ConfigFile::Parse(text).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << text;
  EXPECT_EQ(status.message().find('\n'), absl::string_view::npos) << text;
  return std::string(status.message());
}

std::string WhyOf(const std::string& fields) {
  return Why(absl::StrCat("commands { ", kHead, " ", fields, " }"));
}

ProgramSpec SpecOf(const AllowedCommand& command, NamedValues arguments = {}, NamedValues environment = {}) {
  return command.SpecOf({command.name, std::move(arguments), std::move(environment), ""});
}

TEST(CommandConfigTest, ThereAreNoneByDefault) { EXPECT_TRUE(ConfigFile::Default().commands.empty()); }

TEST(CommandConfigTest, WhatIsLeftOutHasItsDefault) {
  const AllowedCommand command = One(kHead);
  const ProgramSpec spec = SpecOf(command);
  EXPECT_THAT(spec.argv, ElementsAre("/bin/true"));
  EXPECT_THAT(spec.environment, ElementsAre("PATH=/usr/bin:/bin", "LANG=C.UTF-8"));
  EXPECT_EQ(spec.fences.memory_bytes, 512 << 20);
  EXPECT_EQ(spec.fences.cpu_seconds, 3600);
  EXPECT_EQ(spec.fences.file_bytes, 1 << 30);
  EXPECT_EQ(spec.fences.open_files, 64);
  EXPECT_EQ(spec.fences.processes, 0);  // without a user of its own
  EXPECT_EQ(spec.fences.working_directory, "");
  EXPECT_EQ(spec.fences.user, "");
  EXPECT_EQ(command.max_output_bytes, size_t{1} << 20);
  EXPECT_EQ(command.kill_grace, absl::Seconds(2));
}

TEST(CommandConfigTest, WhatItSaysHolds) {
  const AllowedCommand command = One(R"(
      name: "thumbnail" argv: "/usr/bin/convert" argv: "{width}x{width}" argv: "{{literal}" argv: "{image}"
      parameters { name: "width" type: INT min: 1 max: 4096 default_value: "200" }
      parameters { name: "image" type: PATH }
      environment: "PATH=/opt/bin" environment: "EMPTY=" allowed_environment: "LC_ALL"
      working_directory: "/srv" user: "nobody" kill_grace { nanos: 500000000 }
      limits { max_memory_bytes: 0 max_cpu_time { seconds: 7 } max_file_bytes: 8 max_open_files: 9
               max_processes: 10 } max_output_bytes: 11)");
  const ProgramSpec spec = SpecOf(command, {{"image", "a/b.png"}}, {{"LC_ALL", "C"}});
  EXPECT_THAT(spec.argv, ElementsAre("/usr/bin/convert", "200x200", "{literal}", "a/b.png"));
  EXPECT_THAT(spec.environment, ElementsAre("PATH=/opt/bin", "EMPTY=", "LANG=C.UTF-8", "LC_ALL=C"));
  EXPECT_EQ(spec.fences.memory_bytes, 0);
  EXPECT_EQ(spec.fences.cpu_seconds, 7);
  EXPECT_EQ(spec.fences.file_bytes, 8);
  EXPECT_EQ(spec.fences.open_files, 9);
  EXPECT_EQ(spec.fences.processes, 10);
  EXPECT_EQ(spec.fences.working_directory, "/srv");
  EXPECT_EQ(spec.fences.user, "nobody");
  EXPECT_EQ(command.max_output_bytes, 11u);
  EXPECT_EQ(command.kill_grace, absl::Milliseconds(500));
}

TEST(CommandConfigTest, WhatIsNotValidSaysWhere) {
  const std::pair<const char*, const char*> cases[] = {
      {"name: \"c\" argv: \"bin/true\"", "commands[0].argv[0]: must be an absolute path"},
      {"name: \"c\" argv: \"true\"", "commands[0].argv[0]: must be an absolute path"},
      {"name: \"c\" argv: \"/bin/{x}\" parameters { name: \"x\" }",
       "commands[0].argv[0]: must be an absolute"},
      {"name: \"c\"", "commands[0].argv: must be 1 to 64, are 0"},
      {"name: \"C\" argv: \"/bin/true\"", "commands[0].name: must match"},
      {"argv: \"/bin/true\"", "commands[0].name: must match"},
      {"name: \"c\" argv: \"/bin/true\\000\"", "commands[0].argv[0]: must have no NUL"},
  };
  for (const auto& [fields, fault] : cases) {
    EXPECT_THAT(Why(absl::StrCat("commands { ", fields, " }")), StartsWith(fault)) << fields;
  }
  const std::pair<const char*, const char*> more[] = {
      {"argv: \"{x}\"", "commands[0].argv[1]: there is no parameter \"x\""},
      {"argv: \"{x\"", "commands[0].argv[1]: has a { without a }"},
      {"argv: \"{}\"", "commands[0].argv[1]: \"\" is no name of a parameter"},
      {"argv: \"{a b}\"", "commands[0].argv[1]: \"a b\" is no name of a parameter"},
      {"parameters { name: \"x\" }", "commands[0].argv: has no place for the parameter \"x\""},
      {"argv: \"{x}\" parameters { name: \"x\" } parameters { name: \"x\" }",
       "commands[0].parameters[1].name: \"x\" comes twice"},
      {"parameters { name: \"X\" }", "commands[0].parameters[0].name: must match"},
      {"argv: \"{x}\" parameters { name: \"x\" type: INT pattern: \"a\" }",
       "commands[0].parameters[0].pattern: is for STRING only"},
      {"argv: \"{x}\" parameters { name: \"x\" min: 1 }", "commands[0].parameters[0].min: is for INT only"},
      {"argv: \"{x}\" parameters { name: \"x\" max: 1 }", "commands[0].parameters[0].max: is for INT only"},
      {"argv: \"{x}\" parameters { name: \"x\" type: INT min: 2 max: 1 }",
       "commands[0].parameters[0].min: must not be more than max"},
      {"argv: \"{x}\" parameters { name: \"x\" values: \"a\" }",
       "commands[0].parameters[0].values: is for ENUM only"},
      {"argv: \"{x}\" parameters { name: \"x\" type: ENUM }",
       "commands[0].parameters[0].values: must be 1 to 256, are 0"},
      {"argv: \"{x}\" parameters { name: \"x\" pattern: \"(\" }", "commands[0].parameters[0].pattern: "},
      {"argv: \"{x}\" parameters { name: \"x\" pattern: \"a{1000}{1000}\" }",
       "commands[0].parameters[0].pattern: "},
      {"argv: \"{x}\" parameters { name: \"x\" max_bytes: 0 }",
       "commands[0].parameters[0].max_bytes: must be 1 to 65536, is 0"},
      {"argv: \"{x}\" parameters { name: \"x\" max_bytes: 65537 }",
       "commands[0].parameters[0].max_bytes: must be 1 to 65536, is 65537"},
      {"argv: \"{x}\" parameters { name: \"x\" default_value: \"-x\" }",
       "commands[0].parameters[0].default_value: must not begin with -"},
      {"argv: \"{x}\" parameters { name: \"x\" type: INT default_value: \"-1\" }",
       "commands[0].parameters[0].default_value: must be a whole number from 0"},
      {"environment: \"A\"", "commands[0].environment[0]: must be NAME=value"},
      {"environment: \"=a\"", "commands[0].environment[0]: must be NAME=value"},
      {"environment: \"1A=a\"", "commands[0].environment[0]: must be NAME=value"},
      {"environment: \"A=\\000\"", "commands[0].environment[0]: must be NAME=value"},
      {"environment: \"A=1\" environment: \"A=2\"", "commands[0].environment[1]: A comes twice"},
      {"environment: \"A=1\" allowed_environment: \"A\"",
       "commands[0].allowed_environment[0]: A comes twice"},
      {"allowed_environment: \"A=\"", "commands[0].allowed_environment[0]: must match"},
      {"allowed_environment: \"LD_PRELOAD\"", "commands[0].allowed_environment[0]: LD_PRELOAD would let"},
      {"allowed_environment: \"PATH\"", "commands[0].allowed_environment[0]: PATH would let"},
      {"allowed_environment: \"BASH_ENV\"", "commands[0].allowed_environment[0]: BASH_ENV would let"},
      {"working_directory: \"srv\"", "commands[0].working_directory: must be an absolute path"},
      {"user: \"a\\000\"", "commands[0].user: must have no NUL"},
      {"kill_grace { seconds: 5 }", "commands[0].kill_grace: must be less than the stop_grace"},
      {"kill_grace { seconds: -1 }", "commands[0].kill_grace: must be 0 to 1h"},
      {"limits { max_memory_bytes: 16777215 }", "commands[0].limits.max_memory_bytes: must be 0 or 16777216"},
      {"limits { max_memory_bytes: -1 }", "commands[0].limits.max_memory_bytes: "},
      {"limits { max_cpu_time { nanos: 1 } }", "commands[0].limits.max_cpu_time: must be 0 to 720h in whole"},
      {"limits { max_cpu_time { seconds: -1 } }", "commands[0].limits.max_cpu_time: "},
      {"limits { max_cpu_time { seconds: 2592001 } }", "commands[0].limits.max_cpu_time: "},
      {"limits { max_file_bytes: -1 }", "commands[0].limits.max_file_bytes: "},
      {"limits { max_open_files: 3 }", "commands[0].limits.max_open_files: must be 4 to 1048576, is 3"},
      {"limits { max_processes: -1 }", "commands[0].limits.max_processes: "},
      {"max_output_bytes: 1048577", "commands[0].max_output_bytes: must be 0 to 1048576, is 1048577"},
  };
  for (const auto& [fields, fault] : more) EXPECT_THAT(WhyOf(fields), StartsWith(fault)) << fields;
}

TEST(CommandConfigTest, NamesAreTheirOwn) {
  EXPECT_THAT(Why(absl::StrCat("commands { ", kHead, " } commands { ", kHead, " }")),
              StartsWith("commands[1].name: \"c\" comes twice"));
}

TEST(CommandConfigTest, TheGraceIsHeldAgainstThePoolInWhichTheyRun) {
  const std::string commands = absl::StrCat("commands { ", kHead, " }");
  const auto pool = [](const char* name, const char* grace) {
    return absl::StrCat("pools { name: \"", name, "\" max_threads: 1 stop_grace { ", grace, " } }");
  };
  EXPECT_THAT(Why(commands + pool("blocking", "seconds: 2")), HasSubstr("kill_grace"));
  EXPECT_TRUE(ConfigFile::Parse(commands + pool("blocking", "seconds: 3")).ok());
  EXPECT_TRUE(ConfigFile::Parse(commands + pool("other", "seconds: 1")).ok());
}

TEST(CommandConfigTest, TheListIsBounded) {
  std::string many;
  for (int i = 0; i < 1000; ++i) absl::StrAppend(&many, "commands { name: \"c", i, "\" argv: \"/x\" }\n");
  EXPECT_EQ(ConfigFile::Parse(many)->commands.size(), 1000u);
  EXPECT_THAT(Why(many + "commands { name: \"d\" argv: \"/x\" }"),
              HasSubstr("commands: must be at most 1000, are 1001"));
}

}  // namespace
}  // namespace jobpool
