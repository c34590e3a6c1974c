#include "server/config/process_config.h"

#include <gmock/gmock.h>
#include <string>
#include <utility>

#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "server/config/config_file.h"

namespace jobpool {
namespace {

using ::testing::StartsWith;

ProcessPoolOptions OptionsOf(const std::string& fields) {
  return ConfigFile::Parse(absl::StrCat("processes { ", fields, " }")).value().processes;
}

std::string WhyOf(const std::string& fields) {
  const absl::Status status = ConfigFile::Parse(absl::StrCat("processes { ", fields, " }")).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << fields;
  return std::string(status.message());
}

TEST(ProcessConfigTest, TheDefaultsAreThoseThatItSays) {
  for (const ProcessPoolOptions& options : {OptionsOf(""), ConfigFile::Default().processes}) {
    EXPECT_EQ(options.min_idle, 0);
    EXPECT_EQ(options.max_idle, 64);
    EXPECT_EQ(options.idle_timeout, absl::Seconds(10));
    EXPECT_EQ(options.max_tasks, 10'000);
    EXPECT_EQ(options.max_resident_bytes, int64_t{1} << 30);
    EXPECT_EQ(options.fences.memory_bytes, int64_t{1} << 32);
    EXPECT_EQ(options.fences.cpu_seconds, 0);
    EXPECT_EQ(options.fences.file_bytes, int64_t{1} << 30);
    EXPECT_EQ(options.fences.open_files, 256);
    EXPECT_EQ(options.fences.processes, 0);
    EXPECT_EQ(options.fences.user, "");
    EXPECT_TRUE(options.confine);
  }
}

TEST(ProcessConfigTest, WhatItSaysHolds) {
  const ProcessPoolOptions options = OptionsOf(R"(
      min_idle: 3 max_idle: 4 idle_timeout { seconds: 5 } max_jobs: 6 max_resident_bytes: 16777217
      limits { max_memory_bytes: 268435457 max_cpu_time { seconds: 7 } max_file_bytes: 8 max_open_files: 33
               max_processes: 10 }
      user: "nobody" seccomp: false)");
  EXPECT_EQ(options.min_idle, 3);
  EXPECT_EQ(options.max_idle, 4);
  EXPECT_EQ(options.idle_timeout, absl::Seconds(5));
  EXPECT_EQ(options.max_tasks, 6);
  EXPECT_EQ(options.max_resident_bytes, 16777217);
  EXPECT_EQ(options.fences.memory_bytes, 268435457);
  EXPECT_EQ(options.fences.cpu_seconds, 7);
  EXPECT_EQ(options.fences.file_bytes, 8);
  EXPECT_EQ(options.fences.open_files, 33);
  EXPECT_EQ(options.fences.processes, 10);
  EXPECT_EQ(options.fences.user, "nobody");
  EXPECT_FALSE(options.confine);
  EXPECT_EQ(OptionsOf("min_idle: 100").max_idle, 100);
  EXPECT_EQ(OptionsOf("limits { max_processes: 10 }").fences.processes, 0);  // the server's would count too
  EXPECT_EQ(OptionsOf("limits { max_memory_bytes: 0 }").fences.memory_bytes, 0);
}

TEST(ProcessConfigTest, WhatIsOutOfBoundsIsRefused) {
  const std::pair<const char*, const char*> faults[] = {
      {"min_idle: -1", "processes.min_idle: must be 0 to 1000, is -1"},
      {"min_idle: 1001", "processes.min_idle: "},
      {"min_idle: 2 max_idle: 1", "processes.max_idle: must be 2 to 10000, is 1"},
      {"max_idle: 10001", "processes.max_idle: "},
      {"idle_timeout { seconds: -1 }", "processes.idle_timeout: must be 0 to 24h"},
      {"max_jobs: 0", "processes.max_jobs: must be 1 to 100000000, is 0"},
      {"max_resident_bytes: 1", "processes.max_resident_bytes: must be 16777216 to"},
      {"limits { max_memory_bytes: 268435455 }", "processes.limits.max_memory_bytes: must be 0 or 268435456"},
      {"limits { max_open_files: 31 }", "processes.limits.max_open_files: must be 32 to 1048576, is 31"},
      {"user: \"a\\000b\"", "processes.user: must have no NUL"},
      {"user: \"nosuchuser\"", "processes.user: there is no user \"nosuchuser\""},
  };
  for (const auto& [fields, fault] : faults) EXPECT_THAT(WhyOf(fields), StartsWith(fault)) << fields;
}

}  // namespace
}  // namespace jobpool
