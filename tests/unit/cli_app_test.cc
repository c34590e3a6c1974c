#include <stdlib.h>
#include <vector>

#include <gtest/gtest.h>

#include "absl/strings/match.h"
#include "client/cli/app.h"
#include "client/cli/suggest.h"

namespace jobpool::cli {
namespace {

ParsedCommandLine Parse(std::vector<const char*> arguments) {
  arguments.insert(arguments.begin(), "jobpool");
  return ParseCommandLine(static_cast<int>(arguments.size()), arguments.data());
}

void ExpectUsage(const std::vector<const char*>& arguments, absl::string_view error) {
  const ParsedCommandLine parsed = Parse(arguments);
  EXPECT_FALSE(parsed.invocation.has_value()) << error;
  EXPECT_EQ(parsed.status, ExitStatus::kUsage);
  EXPECT_EQ(parsed.output, "");
  EXPECT_EQ(parsed.error, error);
}

class AppTest : public testing::Test {
 protected:
  AppTest() { unsetenv("JOBPOOL_SERVER"); }
};

TEST_F(AppTest, Defaults) {
  const ParsedCommandLine parsed = Parse({"threads"});
  ASSERT_TRUE(parsed.invocation.has_value()) << parsed.error;
  EXPECT_EQ(parsed.invocation->server, "127.0.0.1:50051");
  EXPECT_EQ(parsed.invocation->format, OutputFormat::kTable);
  EXPECT_TRUE(parsed.invocation->command);
}

TEST_F(AppTest, GlobalOptionsBeforeAndAfterTheCommand) {
  for (const std::vector<const char*>& arguments : std::vector<std::vector<const char*>>{
           {"--server", "h:1", "-o", "json", "jobs", "list"},
           {"jobs", "--server", "h:1", "list", "-o", "json"},
           {"jobs", "list", "--server=h:1", "-ojson"},
           {"run", "sleep", "2s", "--server", "h:1", "--output", "json"},
           {"run", "--server", "h:1", "noop", "-o", "json", "--name", "x"}}) {
    const ParsedCommandLine parsed = Parse(arguments);
    ASSERT_TRUE(parsed.invocation.has_value()) << parsed.error;
    EXPECT_EQ(parsed.invocation->server, "h:1");
    EXPECT_EQ(parsed.invocation->format, OutputFormat::kJson);
  }
}

TEST_F(AppTest, TheOptionWinsOverTheEnvironment) {
  setenv("JOBPOOL_SERVER", "unix:/run/jobpool", 1);
  EXPECT_EQ(Parse({"pools"}).invocation->server, "unix:/run/jobpool");
  EXPECT_EQ(Parse({"pools", "--server", "h:1"}).invocation->server, "h:1");
  setenv("JOBPOOL_SERVER", "", 1);
  EXPECT_EQ(Parse({"pools"}).invocation->server, "127.0.0.1:50051");
}

TEST_F(AppTest, ArgumentsMayBeCalledLikeCommands) {
  EXPECT_TRUE(Parse({"jobs", "rename", "list", "jobs"}).invocation.has_value());
  EXPECT_TRUE(Parse({"jobs", "get", "run", "threads", "get"}).invocation.has_value());
  EXPECT_TRUE(Parse({"threads", "rename", "7", "count"}).invocation.has_value());
  EXPECT_TRUE(Parse({"wait", "wait", "jobs"}).invocation.has_value());
}

TEST_F(AppTest, UsageErrorsAreALineAndAHint) {
  ExpectUsage({}, "error: a command is missing\nTry 'jobpool --help'.\n");
  ExpectUsage({"frob"}, "error: unknown command 'frob'\nTry 'jobpool --help'.\n");
  ExpectUsage({"threds"},
              "error: unknown command 'threds'; did you mean 'threads'?\nTry 'jobpool --help'.\n");
  ExpectUsage(
      {"jobs", "lsit"},
      "error: unknown command 'lsit' of 'jobpool jobs'; did you mean 'list'?\nTry 'jobpool jobs --help'.\n");
  ExpectUsage({"threads", "frob"},
              "error: unknown command 'frob' of 'jobpool threads'\nTry 'jobpool threads --help'.\n");
  ExpectUsage({"run", "noop", "--nmae", "x"},
              "error: The following argument was not expected: --nmae; did you mean '--name'?\nTry "
              "'jobpool run --help'.\n");
  ExpectUsage({"run", "noop", "--name", ""}, "error: --name: must not be empty\nTry 'jobpool run --help'.\n");
  ExpectUsage({"--tls_key", "x", "pools"},
              "error: --tls_cert and --tls_key must be given together\nTry 'jobpool --help'.\n");
  ExpectUsage({"jobs", "list", "x"},
              "error: The following argument was not expected: x\nTry 'jobpool jobs list --help'.\n");
  ExpectUsage({"jobs", "get"}, "error: NAME is required\nTry 'jobpool jobs get --help'.\n");
  ExpectUsage({"submit", "noop", "--backoff", "1s"},
              "error: --backoff requires --attempts\nTry 'jobpool submit --help'.\n");
  ExpectUsage({"submit", "noop", "--in", "1s", "--at", "2030-01-31T08:00"},
              "error: --at excludes --in\nTry 'jobpool submit --help'.\n");
  ExpectUsage({"pools", "drain", "compute", "--timeout", "1s"},
              "error: --timeout requires --wait\nTry 'jobpool pools drain --help'.\n");
  ExpectUsage({"jobs", "-o", "xml"},
              "error: --output: 'xml' is none of table, json, name\nTry 'jobpool jobs --help'.\n");
  ExpectUsage({"run", "sleep", "2s", "--frob"},
              "error: The following argument was not expected: --frob\nTry 'jobpool run --help'.\n");
  ExpectUsage({"jobs", "rename", "a", "\xff"},
              "error: argument is not UTF-8: \\xff\nTry 'jobpool --help'.\n");
  ExpectUsage({"--server=", "threads"},
              "error: --server= has no value; to give an empty one: --server ''\nTry 'jobpool --help'.\n");
}

TEST_F(AppTest, WatchTakesNamesOrAFilter) {
  for (const std::vector<const char*>& arguments : std::vector<std::vector<const char*>>{
           {"watch", "a", "b"}, {"jobs", "watch", "--filter", "state = RUNNING", "--changes-only"}}) {
    const ParsedCommandLine parsed = Parse(arguments);
    ASSERT_TRUE(parsed.invocation.has_value()) << parsed.error;
    EXPECT_TRUE(parsed.invocation->command);
  }
  ExpectUsage({"watch"}, "error: NAME or --filter is required\nTry 'jobpool watch --help'.\n");
  ExpectUsage({"jobs", "watch", "a", "--filter", "x"},
              "error: NAME excludes --filter\nTry 'jobpool jobs watch --help'.\n");
  ExpectUsage({"watch", "a", "--changes-only"},
              "error: --changes-only requires --filter\nTry 'jobpool watch --help'.\n");
}

TEST_F(AppTest, BenchIsAnOpenLoopOrAClosedOne) {
  for (const std::vector<const char*>& arguments : std::vector<std::vector<const char*>>{
           {"bench"},
           {"bench", "sleep", "10ms", "--rate", "0.5", "--max-in-flight", "10"},
           {"bench", "--concurrency", "1", "--payload-size", "10"}}) {
    const ParsedCommandLine parsed = Parse(arguments);
    ASSERT_TRUE(parsed.invocation.has_value()) << parsed.error;
    EXPECT_TRUE(parsed.invocation->command);
  }
  ExpectUsage({"bench", "--concurrency", "1", "--rate", "2"},
              "error: --concurrency excludes --rate\nTry 'jobpool bench --help'.\n");
  ExpectUsage({"bench", "--max-in-flight", "1"},
              "error: --max-in-flight requires --rate\nTry 'jobpool bench --help'.\n");
  ExpectUsage({"bench", "--payload", "a", "--payload-size", "1"},
              "error: --payload excludes --payload-size\nTry 'jobpool bench --help'.\n");
}

TEST_F(AppTest, HelpOfEveryCommandHasAnExample) {
  const std::vector<std::vector<const char*>> commands = {{},
                                                          {"run"},
                                                          {"submit"},
                                                          {"wait"},
                                                          {"join"},
                                                          {"watch"},
                                                          {"jobs", "watch"},
                                                          {"jobs"},
                                                          {"jobs", "list"},
                                                          {"jobs", "get"},
                                                          {"jobs", "cancel"},
                                                          {"jobs", "delete"},
                                                          {"jobs", "rename"},
                                                          {"jobs", "retry"},
                                                          {"jobs", "explain"},
                                                          {"jobs", "update"},
                                                          {"threads"},
                                                          {"threads", "list"},
                                                          {"threads", "get"},
                                                          {"threads", "rename"},
                                                          {"threads", "count"},
                                                          {"active-count"},
                                                          {"pools"},
                                                          {"pools", "list"},
                                                          {"pools", "get"},
                                                          {"pools", "resize"},
                                                          {"pools", "pause"},
                                                          {"pools", "resume"},
                                                          {"pools", "drain"},
                                                          {"echo"},
                                                          {"bench"},
                                                          {"completion"},
                                                          {"help"}};
  for (std::vector<const char*> arguments : commands) {
    arguments.push_back("--help");
    const ParsedCommandLine parsed = Parse(arguments);
    EXPECT_EQ(parsed.status, ExitStatus::kDone);
    EXPECT_EQ(parsed.error, "");
    EXPECT_TRUE(absl::StrContains(parsed.output, "Usage: jobpool")) << parsed.output;
    EXPECT_TRUE(absl::StrContains(parsed.output, "Example")) << parsed.output;
  }
}

TEST_F(AppTest, TlsFilesFromOptionsAndEnvironment) {
  setenv("JOBPOOL_TLS_CA", "env.pem", 1);
  setenv("JOBPOOL_TLS_KEY", "env.key", 1);
  const ParsedCommandLine parsed = Parse({"pools", "--tls_cert", "a.pem", "--tls_key", "a.key"});
  EXPECT_EQ(Parse({"pools"}).status, ExitStatus::kUsage);  // a key alone
  unsetenv("JOBPOOL_TLS_CA");
  unsetenv("JOBPOOL_TLS_KEY");
  ASSERT_TRUE(parsed.invocation.has_value()) << parsed.error;
  EXPECT_EQ(parsed.invocation->tls.ca, "env.pem");
  EXPECT_EQ(parsed.invocation->tls.cert, "a.pem");
  EXPECT_EQ(parsed.invocation->tls.key, "a.key");
  EXPECT_FALSE(Parse({"pools"}).invocation->tls.any());
}

TEST_F(AppTest, HelpAsACommand) {
  EXPECT_EQ(Parse({"help", "jobs", "list"}).output, Parse({"jobs", "list", "--help"}).output);
  EXPECT_EQ(Parse({"help"}).output, Parse({"--help"}).output);
  EXPECT_EQ(Parse({"help", "frob"}).status, ExitStatus::kUsage);
}

TEST(SuggestTest, DistanceAndTheNearestWord) {
  EXPECT_EQ(EditDistance("", "abc"), 3);
  EXPECT_EQ(EditDistance("list", "list"), 0);
  EXPECT_EQ(EditDistance("lsit", "list"), 1);
  EXPECT_EQ(EditDistance("kitten", "sitting"), 3);
  EXPECT_EQ(DidYouMean("thread", {"submit", "threads"}), "; did you mean 'threads'?");
  EXPECT_EQ(DidYouMean("xyz", {"submit", "threads"}), "");
}

TEST_F(AppTest, Version) {
  const ParsedCommandLine parsed = Parse({"--version"});
  EXPECT_EQ(parsed.status, ExitStatus::kDone);
  EXPECT_EQ(parsed.output, "jobpool 0.1.0\n");
}

}  // namespace
}  // namespace jobpool::cli
