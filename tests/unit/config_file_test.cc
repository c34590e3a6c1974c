#include "server/config/config_file.h"

#include <cstdio>
#include <fstream>
#include <gmock/gmock.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "server/config/cpu_quota.h"

namespace jobpool {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

const PoolOptions& Pool(const ConfigFile& config, absl::string_view name) {
  for (const PoolOptions& pool : config.pools) {
    if (pool.name == name) return pool;
  }
  throw std::runtime_error("no such pool");
}

PoolOptions One(const std::string& fields, absl::string_view name = "compute") {
  return Pool(ConfigFile::Parse(absl::StrCat("pools { name: \"", name, "\" ", fields, " }")).value(), name);
}

std::string Why(const std::string& text) {
  const absl::Status status = ConfigFile::Parse(text).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << text;
  EXPECT_EQ(status.message().find('\n'), absl::string_view::npos);
  return std::string(status.message());
}

TEST(ConfigFileTest, AnEmptyFileHasTheDefaults) {
  const ConfigFile config = ConfigFile::Default();
  ASSERT_EQ(config.pools.size(), 2u);
  const PoolOptions& blocking = Pool(config, "blocking");
  EXPECT_EQ(blocking.min_threads, 0);
  EXPECT_EQ(blocking.max_threads, 256);
  EXPECT_EQ(blocking.idle_timeout, absl::Seconds(10));
  EXPECT_EQ(blocking.max_queued_jobs, 1'000'000);
  EXPECT_EQ(Pool(config, "compute").min_threads, CpuQuota());
  EXPECT_EQ(Pool(config, "compute").max_threads, CpuQuota());
  EXPECT_EQ(config.max_ended_jobs, 100'000);
  EXPECT_EQ(config.limits.max_waits, 1'000'000);
}

TEST(ConfigFileTest, WhatItSaysHolds) {
  const ConfigFile config =
      ConfigFile::Parse(
          "# a comment\n"
          "pools { name: \"reports\" max_threads: 3 min_threads: 1 idle_timeout { nanos: 5000000 }\n"
          "        max_queued_jobs: 7 }\n"
          "limits { max_ended_jobs: 1 max_ended_bytes: 2 max_live_bytes: 1048576 max_waits: 4\n"
          "         max_request_ids: 5 max_call_bytes: 33554432 }\n")
          .value();
  ASSERT_EQ(config.pools.size(), 3u);
  const PoolOptions& reports = Pool(config, "reports");
  EXPECT_EQ(reports.min_threads, 1);
  EXPECT_EQ(reports.max_threads, 3);
  EXPECT_EQ(reports.idle_timeout, absl::Milliseconds(5));
  EXPECT_EQ(reports.max_queued_jobs, 7);
  EXPECT_EQ(config.max_ended_jobs, 1);
  EXPECT_EQ(config.max_ended_bytes, 2);
  EXPECT_EQ(config.limits.max_live_bytes, 1 << 20);
  EXPECT_EQ(config.limits.max_waits, 4);
  EXPECT_EQ(config.limits.max_request_ids, 5);
  EXPECT_EQ(config.max_call_bytes, 33554432);
}

TEST(ConfigFileTest, OneOfMinAndMaxMovesTheOther) {
  EXPECT_EQ(One("max_threads: 1").min_threads, 1);
  EXPECT_EQ(One("max_threads: 10000").min_threads, CpuQuota());
  EXPECT_EQ(One("min_threads: 5000").max_threads, 5000);
  EXPECT_EQ(One("min_threads: 0").max_threads, CpuQuota());
  EXPECT_EQ(One("min_threads: 300", "blocking").max_threads, 300);
}

TEST(ConfigFileTest, BoundsAreMetAndNotPassed) {
  EXPECT_EQ(One("max_threads: 10000").max_threads, 10'000);
  EXPECT_THAT(Why("pools { name: \"a\" max_threads: 10001 }"),
              HasSubstr("pools[0].max_threads: must be 1 to 10000"));
  EXPECT_THAT(Why("pools { name: \"a\" max_threads: 0 }"), HasSubstr("pools[0].max_threads"));
  EXPECT_THAT(Why("pools { name: \"a\" max_threads: 2 min_threads: -1 }"), HasSubstr("pools[0].min_threads"));
  EXPECT_THAT(Why("pools { name: \"a\" max_threads: 2 min_threads: 3 }"),
              HasSubstr("must be 0 to max_threads"));
  EXPECT_EQ(One("idle_timeout { seconds: 86400 }").idle_timeout, absl::Hours(24));
  EXPECT_THAT(Why("pools { name: \"compute\" idle_timeout { seconds: 86401 } }"),
              HasSubstr("pools[0].idle_timeout"));
  EXPECT_THAT(Why("pools { name: \"compute\" idle_timeout { nanos: -1 } }"),
              HasSubstr("pools[0].idle_timeout"));
  EXPECT_EQ(One("max_queued_jobs: 100000000").max_queued_jobs, 100'000'000);
  EXPECT_THAT(Why("pools { name: \"compute\" max_queued_jobs: 100000001 }"), HasSubstr("max_queued_jobs"));
  EXPECT_THAT(Why("pools { name: \"compute\" max_queued_jobs: 0 }"), HasSubstr("max_queued_jobs"));
  for (const char* field : {"max_ended_jobs: -1", "max_ended_jobs: 100000001", "max_ended_bytes: -1",
                            "max_ended_bytes: 1099511627777", "max_live_bytes: 1048575",
                            "max_live_bytes: 1099511627777", "max_call_bytes: 33554431", "max_waits: 0",
                            "max_waits: 100000001", "max_request_ids: -1", "max_request_ids: 100000001"}) {
    EXPECT_THAT(Why(absl::StrCat("limits { ", field, " }")), StartsWith("limits.max_")) << field;
  }
}

TEST(ConfigFileTest, PoolsHaveNamesOfTheirOwn) {
  EXPECT_THAT(Why("pools { max_threads: 1 }"), HasSubstr("pools[0].name"));
  EXPECT_THAT(Why("pools { name: \"A\" max_threads: 1 }"), HasSubstr("pools[0].name"));
  EXPECT_THAT(Why("pools { name: \"a\" }"), HasSubstr("pools[0].max_threads: is required"));
  EXPECT_THAT(Why("pools { name: \"a\" max_threads: 1 } pools { name: \"a\" max_threads: 1 }"),
              HasSubstr("pools[1].name: \"a\" comes twice"));
  std::string many;
  for (int i = 0; i < 64; ++i) absl::StrAppend(&many, "pools { name: \"p", i, "\" max_threads: 1 }\n");
  EXPECT_EQ(ConfigFile::Parse(many)->pools.size(), 66u);
  EXPECT_THAT(Why(many + "pools { name: \"q\" max_threads: 1 }"),
              HasSubstr("pools: must be at most 64, are 65"));
}

TEST(ConfigFileTest, WhatDoesNotParseSaysWhere) {
  EXPECT_THAT(Why("pools {\n  nme: \"a\"\n}"), StartsWith("2:"));
  EXPECT_THAT(Why("pools {\n  name: \"a\""), StartsWith("2:"));
  EXPECT_THAT(Why("limits { max_waits: \"many\" }"), StartsWith("1:"));
  EXPECT_THAT(Why("limits { max_waits: 99999999999999999999 }"), StartsWith("1:"));
  Why(std::string("\0\xff\n", 3));
  Why(std::string(100'000, '{'));
}

TEST(ConfigFileTest, ReadsFiles) {
  const std::string path = absl::StrCat(::testing::TempDir(), "/config_file_test.", getpid());
  std::ofstream(path) << "limits { max_waits: 9 }";
  EXPECT_EQ(ConfigFile::Load(path)->limits.max_waits, 9);
  std::ofstream(path) << "limits { max_waits: 0 }";
  EXPECT_THAT(std::string(ConfigFile::Load(path).status().message()),
              StartsWith(path + ": limits.max_waits"));
  std::ofstream(path) << std::string(1 << 20, ' ');
  EXPECT_TRUE(ConfigFile::Load(path).ok());
  std::ofstream(path) << std::string((1 << 20) + 1, ' ');
  EXPECT_THAT(std::string(ConfigFile::Load(path).status().message()), HasSubstr("larger than 1 MiB"));
  std::remove(path.c_str());
  EXPECT_THAT(std::string(ConfigFile::Load(path).status().message()), HasSubstr("No such file"));
  EXPECT_THAT(std::string(ConfigFile::Load("/").status().message()), HasSubstr("not a regular file"));
  EXPECT_FALSE(ConfigFile::Load("/dev/zero").ok());
}

TEST(ConfigFileTest, PoolsStayWhileTheServerRuns) {
  const ConfigFile now = ConfigFile::Parse("pools { name: \"a\" max_threads: 1 }").value();
  EXPECT_TRUE(CheckReload(now, ConfigFile::Parse("pools { name: \"a\" max_threads: 2 }").value()).ok());
  EXPECT_FALSE(CheckReload(now, ConfigFile::Default()).ok());
  EXPECT_FALSE(CheckReload(ConfigFile::Default(), now).ok());
  EXPECT_TRUE(
      CheckReload(ConfigFile::Default(), ConfigFile::Parse("pools { name: \"compute\" }").value()).ok());
}

}  // namespace
}  // namespace jobpool
