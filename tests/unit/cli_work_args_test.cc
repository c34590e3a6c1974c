#include <string>
#include <vector>

#include <google/protobuf/util/message_differencer.h>
#include <gtest/gtest.h>

#include "absl/strings/match.h"
#include "client/cli/work_args.h"
#include "tests/support/temp_dir.h"

namespace jobpool::cli {
namespace {

const absl::Time kNow = absl::FromUnixSeconds(1'700'000'000);

WorkArgs Args(std::string kind, std::optional<std::string> argument = std::nullopt) {
  WorkArgs args;
  args.kind = std::move(kind);
  args.argument = std::move(argument);
  return args;
}

/// The request for `args`, whose error would be a failure of the test.
v1::SubmitJobRequest Request(const WorkArgs& args) {
  const auto request = ToSubmitRequest(args, kNow);
  EXPECT_TRUE(request.ok()) << request.status();
  return request.value_or(v1::SubmitJobRequest());
}

void ExpectRefused(const WorkArgs& args, absl::string_view message) {
  const auto request = ToSubmitRequest(args, kNow);
  ASSERT_FALSE(request.ok()) << request->ShortDebugString();
  EXPECT_EQ(request.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(absl::StrContains(request.status().message(), message)) << request.status();
}

TEST(WorkArgsTest, EachKindSetsItsWork) {
  EXPECT_EQ(Request(Args("sleep", "1500ms")).job().sleep().duration().seconds(), 1);
  EXPECT_EQ(Request(Args("sleep", "1500ms")).job().sleep().duration().nanos(), 500'000'000);
  EXPECT_EQ(Request(Args("primes", "1000000000000")).job().compute().primes().limit(), 1'000'000'000'000);
  EXPECT_EQ(Request(Args("fibonacci", "90")).job().compute().fibonacci().index(), 90);
  EXPECT_EQ(Request(Args("pi", "100")).job().compute().pi().digits(), 100);
  EXPECT_EQ(Request(Args("hash", "4096")).job().compute().hash().bytes(), 4096);
  EXPECT_EQ(Request(Args("spin", "2")).job().compute().spin().cpu_time().seconds(), 2);
  EXPECT_TRUE(Request(Args("noop")).job().has_noop());
}

TEST(WorkArgsTest, ZeroIsSetAndNotLeftOut) {
  EXPECT_TRUE(Request(Args("primes", "0")).job().compute().has_primes());
  EXPECT_TRUE(Request(Args("sleep", "0")).job().sleep().has_duration());
}

TEST(WorkArgsTest, OptionsReachTheRequest) {
  WorkArgs args = Args("noop");
  args.payload = std::string("a\0b", 3);
  args.display_name = "nightly count";
  args.pool = "compute";
  args.labels = {"team=a", "empty=", "formula=a=b"};
  args.daemon = true;
  args.job_id = "nightly";
  args.request_id = "5f0c6b1e-7a1d-4c0e-9d55-3b1f0e8f2a46";
  args.validate_only = true;
  args.retention = "1h";
  const v1::SubmitJobRequest request = Request(args);
  EXPECT_EQ(request.job().noop().payload(), std::string("a\0b", 3));
  EXPECT_EQ(request.job().display_name(), "nightly count");
  EXPECT_EQ(request.job().pool(), "pools/compute");
  EXPECT_EQ(request.job().labels().at("team"), "a");
  EXPECT_EQ(request.job().labels().at("empty"), "");
  EXPECT_EQ(request.job().labels().at("formula"), "a=b");
  EXPECT_TRUE(request.job().daemon());
  EXPECT_EQ(request.job_id(), "nightly");
  EXPECT_EQ(request.request_id(), args.request_id);
  EXPECT_TRUE(request.validate_only());
  EXPECT_EQ(request.job().retention().seconds(), 3600);
}

TEST(WorkArgsTest, WhatWasNotGivenIsNotSet) {
  v1::SubmitJobRequest expected;
  expected.mutable_job()->mutable_noop();
  EXPECT_TRUE(google::protobuf::util::MessageDifferencer::Equals(Request(Args("noop")), expected));
}

TEST(WorkArgsTest, PlansReachTheRequest) {
  WorkArgs args = Args("noop");
  args.priority = 0;
  args.times.in = "1m30s";
  args.times.deadline = "1d";
  args.timeout = "2s";
  args.attempts = 3;
  args.backoff = "100ms";
  args.max_backoff = "1m";
  const v1::Job job = Request(args).job();
  EXPECT_TRUE(job.has_priority());
  EXPECT_EQ(job.priority(), 0);
  EXPECT_EQ(job.schedule_time().seconds(), 1'700'000'090);
  EXPECT_EQ(job.deadline_time().seconds(), 1'700'086'400);
  EXPECT_EQ(job.timeout().seconds(), 2);
  EXPECT_EQ(job.retry_policy().max_attempts(), 3);
  EXPECT_EQ(job.retry_policy().initial_backoff().nanos(), 100'000'000);
  EXPECT_EQ(job.retry_policy().max_backoff().seconds(), 60);
}

TEST(WorkArgsTest, RefusesBadPlansByTheirOption) {
  WorkArgs args = Args("noop");
  args.timeout = "soon";
  ExpectRefused(args, "--timeout: 'soon'");
  args = Args("noop");
  args.backoff = "soon";
  ExpectRefused(args, "--backoff: 'soon'");
  args = Args("noop");
  args.max_backoff = "soon";
  ExpectRefused(args, "--max-backoff: 'soon'");
  args = Args("noop");
  args.times.at = "soon";
  ExpectRefused(args, "--at: 'soon'");
}

TEST(WorkArgsTest, ARequestThatIsNamedHasNoTimesThatMove) {
  WorkArgs args = Args("noop");
  args.request_id = "5f0c6b1e-7a1d-4c0e-9d55-3b1f0e8f2a46";
  args.times.at = "2030-01-31T08:00:00Z";
  args.times.deadline = "2030-01-31T09:00:00Z";
  EXPECT_TRUE(ToSubmitRequest(args, kNow).ok());
  args.times.deadline = "2h";
  ExpectRefused(args, "--request-id");
  args.times = {.at = {}, .in = "1h", .deadline = {}};
  ExpectRefused(args, "--request-id");
}

TEST(WorkArgsTest, SeedTakesAllOfItsRange) {
  WorkArgs args = Args("hash", "1");
  args.seed = "18446744073709551615";
  EXPECT_EQ(Request(args).job().compute().hash().seed(), UINT64_MAX);
  args.seed = "18446744073709551616";
  ExpectRefused(args, "2^64-1");
  args.seed = "-1";
  ExpectRefused(args, "2^64-1");
}

TEST(WorkArgsTest, LeavesBoundsToTheServer) {
  EXPECT_EQ(Request(Args("primes", "-5")).job().compute().primes().limit(), -5);
  EXPECT_EQ(Request(Args("sleep", "-2s")).job().sleep().duration().seconds(), -2);
}

TEST(WorkArgsTest, RefusesWhatDoesNotFitTheKind) {
  ExpectRefused(Args("frobnicate"), "sleep, primes, fibonacci, pi, hash, spin, noop, command");
  ExpectRefused(Args("primes"), "LIMIT");
  ExpectRefused(Args("noop", "1"), "no argument");
  ExpectRefused(Args("primes", "many"), "'many'");
  ExpectRefused(Args("primes", "1.5"), "'1.5'");
  ExpectRefused(Args("primes", ""), "''");
  ExpectRefused(Args("primes", "9223372036854775808"), "10^12");
  ExpectRefused(Args("pi", "2147483648"), "200000");
  ExpectRefused(Args("sleep", "soon"), "'soon'");
  WorkArgs args = Args("primes", "1");
  args.seed = "1";
  ExpectRefused(args, "--seed");
  args = Args("primes", "1");
  args.payload = "";
  ExpectRefused(args, "--payload is for");
  args = Args("primes", "1");
  args.payload_file = "/dev/null";
  ExpectRefused(args, "--payload-file is for");
  args = Args("primes", "1");
  args.more_arguments = {"2"};
  ExpectRefused(args, "got also '2'");
  ExpectRefused(Args("custom"), "KIND");
}

TEST(WorkArgsTest, ACustomJobHasItsPayloadFromOneOfThree) {
  WorkArgs args = Args("custom", "reverse");
  EXPECT_EQ(Request(args).job().custom().kind(), "reverse");
  EXPECT_EQ(Request(args).job().custom().payload(), "");
  args.more_arguments = {"hello"};
  EXPECT_EQ(Request(args).job().custom().payload(), "hello");
  args.payload = "hello";
  ExpectRefused(args, "more than once");
  args.more_arguments.clear();
  EXPECT_EQ(Request(args).job().custom().payload(), "hello");
  args.payload_file = "/dev/null";
  ExpectRefused(args, "more than once");
}

TEST(WorkArgsTest, ReadsAPayloadFromAFile) {
  const TempDir folder;
  const std::string bytes = std::string("a\0\xff", 3) + std::string(200'000, 'x');
  for (WorkArgs args : {Args("custom", "reverse"), Args("noop")}) {
    args.payload_file = folder.Write("payload", bytes);
    const v1::Job job = Request(args).job();
    EXPECT_TRUE((args.kind == "noop" ? job.noop().payload() : job.custom().payload()) == bytes) << args.kind;
    args.payload_file = folder.Path("none");
    ExpectRefused(args, "No such file");
    args.payload_file = folder.Path("");
    ExpectRefused(args, "Is a directory");
    args.payload_file = "/dev/zero";
    ExpectRefused(args, "has more than 1048576 bytes");
  }
}

TEST(WorkArgsTest, CommandsTakeParametersEnvironmentAndInput) {
  const TempDir folder;
  WorkArgs args = Args("command", "greet");
  args.more_arguments = {"who=a=b", "x=", "y=-1"};
  args.environment = {"LC_ALL=C"};
  args.stdin_file = folder.Write("input", absl::string_view("a\0b", 3));
  const v1::Command command = Request(args).job().command();
  EXPECT_EQ(command.name(), "greet");
  EXPECT_EQ(command.arguments_size(), 3);
  EXPECT_EQ(command.arguments().at("who"), "a=b");
  EXPECT_EQ(command.arguments().at("x"), "");
  EXPECT_EQ(command.arguments().at("y"), "-1");
  EXPECT_EQ(command.environment().at("LC_ALL"), "C");
  EXPECT_EQ(command.stdin(), std::string("a\0b", 3));

  ExpectRefused(Args("command"), "NAME");
  args = Args("command", "greet");
  args.more_arguments = {"who"};
  ExpectRefused(args, "'who' must be PARAM=VALUE");
  args.more_arguments = {"who=a", "who=b"};
  ExpectRefused(args, "'who' is given twice");
  args.more_arguments.clear();
  args.environment = {"=x"};
  ExpectRefused(args, "--env: '=x' must be NAME=VALUE");
  args.environment.clear();
  args.stdin_file = folder.Path("none");
  ExpectRefused(args, "No such file");
  args.stdin_file = folder.Write("large", std::string((1 << 20) + 1, 'x'));
  ExpectRefused(args, "has more than 1048576 bytes");

  args = Args("sleep", "1");
  args.more_arguments = {"2"};
  ExpectRefused(args, "sleep takes 1 argument, got also '2'");
  args.more_arguments.clear();
  args.environment = {"A=1"};
  ExpectRefused(args, "--env is for command only");
  args.environment.clear();
  args.stdin_file = "-";
  ExpectRefused(args, "--stdin-file is for command only");
}

TEST(WorkArgsTest, RefusesBadLabelsAndRetention) {
  WorkArgs args = Args("noop");
  args.labels = {"team"};
  ExpectRefused(args, "KEY=VALUE");
  args.labels = {"=a"};
  ExpectRefused(args, "KEY=VALUE");
  args.labels = {"team=a", "team=b"};
  ExpectRefused(args, "twice");
  args.labels.clear();
  args.retention = "long";
  ExpectRefused(args, "--retention");
}

TEST(ResourceNameTest, CompletesBareNamesOnly) {
  EXPECT_EQ(ResourceName("jobs", "nightly"), "jobs/nightly");
  EXPECT_EQ(ResourceName("jobs", "jobs/nightly"), "jobs/nightly");
  EXPECT_EQ(ResourceName("jobs", "threads/1"), "threads/1");
}

}  // namespace
}  // namespace jobpool::cli
