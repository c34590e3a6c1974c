// Commands as real programs, in real processes.

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <gmock/gmock.h>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "server/base/sanitizers.h"
#include "server/handlers/command.h"
#include "server/handlers/program_run.h"
#include "server/job/errors.h"
#include "server/process/fork_server.h"
#include "tests/support/eventually.h"
#include "tests/support/temp_dir.h"

namespace jobpool {
namespace {

using ::testing::HasSubstr;

class CommandHandlerTest : public ::testing::Test {
 protected:
  CommandHandlerTest() : handler_(MakeCommandHandler(commands_, &starter_)) { std::signal(SIGPIPE, SIG_IGN); }

  /// The server's only command.
  AllowedCommand& Allow(const std::vector<std::string>& argv) {
    command_ = AllowedCommand();
    command_.name = "c";
    for (const std::string& argument : argv) {
      std::string escaped;
      for (const char c : argument) escaped += c == '{' ? std::string("{{") : std::string(1, c);
      command_.argv.push_back(ArgumentTemplate::Parse(escaped).value());
    }
    command_.environment = {"PATH=/usr/bin:/bin"};
    return command_;
  }
  AllowedCommand& AllowShell(const std::string& script) { return Allow({"/bin/sh", "-c", script}); }

  absl::StatusOr<Result> Run(std::string input = "", NamedValues arguments = {},
                             NamedValues environment = {}) {
    commands_->Set({command_});
    const CommandWork work{std::make_shared<const CommandCall>(
        CommandCall{"c", std::move(arguments), std::move(environment), std::move(input)})};
    return handler_->Run(work, context_);
  }

  /// Of one that succeeds.
  CommandOutput Output(std::string input = "") {
    const absl::StatusOr<Result> result = Run(std::move(input));
    EXPECT_TRUE(result.ok()) << result.status();
    return result.ok() ? *std::get<CommandResult>(*result).output : CommandOutput();
  }

  /// What one has given that failed.
  CommandOutput OutputOfFailure() {
    if (!context_.result_of_failure.has_value()) {
      ADD_FAILURE() << "it has no result";
      return {};
    }
    return *std::get<CommandResult>(*context_.result_of_failure).output;
  }

  ForkServer starter_;
  const std::shared_ptr<CommandList> commands_ = std::make_shared<CommandList>();
  AllowedCommand command_;
  CancelToken cancel_;
  Progress progress_;
  HandlerContext context_{cancel_, progress_};
  const std::unique_ptr<const Handler> handler_;
};

TEST_F(CommandHandlerTest, WhatItReadsIsWhatWasGiven) {
  std::string input;
  for (size_t i = 0; i < size_t{1} << 20; ++i) input.push_back(static_cast<char>(i * 7 + (i >> 8)));
  Allow({"/bin/cat"});
  const CommandOutput output = Output(input);
  EXPECT_TRUE(output.out == input);  // EXPECT_EQ would print a MiB
  EXPECT_FALSE(output.out_truncated);
  EXPECT_EQ(output.err, "");
  EXPECT_EQ(Output("").out, "");
}

TEST_F(CommandHandlerTest, WhoReadsNothingDoesNotHoldItUp) {
  AllowShell("exec <&-; echo done");
  EXPECT_EQ(Output(std::string(1 << 20, 'x')).out, "done\n");
}

TEST_F(CommandHandlerTest, ArgumentsArriveAsTheyAre) {
  AllowedCommand& command = Allow({"/usr/bin/printf", "<%s>"});
  command.argv.push_back(ArgumentTemplate::Parse("{x}").value());
  command.argv.push_back(ArgumentTemplate::Parse("--x={x}").value());
  CommandParameter parameter;
  parameter.name = "x";
  parameter.pattern = ParseTextPattern("(?s).*").value();
  command.parameters = {parameter};
  for (const std::string value : {"$(touch pwned)", "`id`", "a; b && c | d > e", "two  words", "a\nb\r\t\x01",
                                  "*", "'\"\\$HOME", "", "caf\xc3\xa9"}) {
    const absl::StatusOr<Result> result = Run("", {{"x", value}});
    ASSERT_TRUE(result.ok()) << result.status();
    EXPECT_EQ(std::get<CommandResult>(*result).output->out, absl::StrCat("<", value, "><--x=", value, ">"));
  }
}

TEST_F(CommandHandlerTest, GetsItsEnvironmentAlone) {
  AllowedCommand& command = Allow({"/usr/bin/env"});
  command.environment = {"PATH=/bin", "A=1"};
  command.environment_names = {"B"};
  const absl::StatusOr<Result> result = Run("", {}, {{"B", "2 3"}});
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(std::get<CommandResult>(*result).output->out, "PATH=/bin\nA=1\nB=2 3\n");
}

TEST_F(CommandHandlerTest, AFailureHasWhatItWrote) {
  AllowShell("echo out; echo why >&2; exit 3");
  const absl::StatusOr<Result> result = Run();
  EXPECT_EQ(ReasonOf(result.status()), "COMMAND_FAILED");
  EXPECT_EQ(result.status().message(), "exit status 3; the end of its stderr: why");
  const CommandOutput output = OutputOfFailure();
  EXPECT_EQ(output.exit_status, 3);
  EXPECT_EQ(output.signal, 0);
  EXPECT_EQ(output.out, "out\n");
  EXPECT_EQ(output.err, "why\n");
}

TEST_F(CommandHandlerTest, ASignalIsNamed) {
  AllowShell("kill -SEGV $$");
  EXPECT_EQ(Run().status().message(), "ended by signal 11 (SIGSEGV)");
  EXPECT_EQ(OutputOfFailure().signal, SIGSEGV);
}

TEST_F(CommandHandlerTest, AFloodIsCutAndGoesOn) {
  AllowedCommand& command =
      AllowShell("head -c 3000000 /dev/zero; head -c 3000000 /dev/zero >&2; echo last >&2; exit 1");
  command.max_output_bytes = 1000;
  EXPECT_EQ(Run().status().message(),
            absl::StrCat("exit status 1; the end of its stderr: ", std::string(495, '?'), "last"));
  const CommandOutput output = OutputOfFailure();
  EXPECT_EQ(output.out, std::string(1000, '\0'));
  EXPECT_EQ(output.err, std::string(1000, '\0'));
  EXPECT_TRUE(output.out_truncated);
  EXPECT_TRUE(output.err_truncated);
}

TEST_F(CommandHandlerTest, AFullStreamIsNotCut) {
  AllowShell("printf 1234567890").max_output_bytes = 10;
  EXPECT_EQ(Output().out, "1234567890");
  EXPECT_FALSE(Output().out_truncated);
  command_.max_output_bytes = 9;
  EXPECT_EQ(Output().out, "123456789");
  EXPECT_TRUE(Output().out_truncated);
  command_.max_output_bytes = 0;
  EXPECT_EQ(Output().out, "");
  EXPECT_TRUE(Output().out_truncated);
}

TEST_F(CommandHandlerTest, WhatItWritesIsToldAsItComes) {
  const TempDir folder;
  const std::string heard = folder.Path("heard");
  AllowShell(absl::StrCat("echo first; echo why >&2; while ! [ -e ", heard,
                          " ]; do sleep 0.01; done; head -c 200000 /dev/zero"))
      .max_output_bytes = 100'000;
  std::string out;
  std::string err;
  size_t largest = 0;
  context_.on_output = [&](OutputStream stream, absl::string_view bytes) {
    absl::StrAppend(stream == OutputStream::kOut ? &out : &err, bytes);
    largest = std::max(largest, bytes.size());
    // It goes on when it was heard.
    if (out == "first\n" && err == "why\n") folder.Write("heard", "");
  };
  const CommandOutput output = Output();
  EXPECT_TRUE(out == output.out);
  EXPECT_EQ(out.size(), 100'000u);
  EXPECT_EQ(err, "why\n");
  EXPECT_LE(largest, size_t{64} << 10);
}

TEST_F(CommandHandlerTest, ItEndsWhenItIsAsked) {
  const TempDir folder;
  const std::string begun = folder.Path("begun");
  AllowShell(absl::StrCat("echo some; touch ", begun, "; exec sleep 600")).kill_grace = absl::Hours(1);
  std::thread canceller([&] {
    EXPECT_TRUE(Eventually([&] { return std::filesystem::exists(begun); }));
    cancel_.Cancel(CancelReason::kRequested);
  });
  EXPECT_TRUE(absl::IsCancelled(Run().status()));
  canceller.join();
  const CommandOutput output = OutputOfFailure();
  EXPECT_EQ(output.signal, SIGTERM);
  EXPECT_EQ(output.out, "some\n");
}

TEST_F(CommandHandlerTest, WhoDoesNotListenIsKilled) {
  const TempDir folder;
  const std::string begun = folder.Path("begun");
  AllowShell(absl::StrCat("trap '' TERM; touch ", begun, "; while :; do sleep 600; done")).kill_grace =
      absl::Milliseconds(50);
  std::thread canceller([&] {
    EXPECT_TRUE(Eventually([&] { return std::filesystem::exists(begun); }));
    cancel_.Cancel(CancelReason::kTimeout);
  });
  EXPECT_TRUE(absl::IsCancelled(Run().status()));
  canceller.join();
  EXPECT_EQ(OutputOfFailure().signal, SIGKILL);
}

TEST_F(CommandHandlerTest, WhatWasCancelledBeforeDoesNotBegin) {
  const TempDir folder;
  Allow({"/usr/bin/touch", folder.Path("begun")});
  cancel_.Cancel(CancelReason::kRequested);
  EXPECT_TRUE(absl::IsCancelled(Run().status()));
  EXPECT_FALSE(std::filesystem::exists(folder.Path("begun")));
}

TEST_F(CommandHandlerTest, WhatItLeavesBehindEndsWithIt) {
  AllowShell("setsid sleep 600 & echo $!");
  const std::string out = Output().out;  // though its stdout is still open there
  int pid = 0;
  ASSERT_TRUE(absl::SimpleAtoi(absl::StripSuffix(out, "\n"), &pid)) << out;
  EXPECT_EQ(kill(pid, 0), -1);
}

TEST_F(CommandHandlerTest, PastItsLimitsItFailsWithThatReason) {
  Allow({"/bin/dd", "if=/dev/zero", "of=file", "bs=5000", "count=1"}).fences.file_bytes = 1000;
  EXPECT_THAT(std::string(Run().status().message()), HasSubstr("a file reached its limit of 1000 bytes"));
  EXPECT_EQ(OutputOfFailure().signal, SIGXFSZ);
  AllowShell("while :; do :; done").fences.cpu_seconds = 1;
  EXPECT_THAT(std::string(Run().status().message()), HasSubstr("it reached its limit of 1 s of CPU time"));
  // Not quite 1 s: the system holds what it has counted by ticks against the limit.
  EXPECT_GE(context_.process_usage.user_cpu_time + context_.process_usage.system_cpu_time,
            absl::Milliseconds(500));
}

TEST_F(CommandHandlerTest, PastItsMemoryItFailsWithThatReason) {
  if (kSanitized) GTEST_SKIP() << "a sanitizer takes terabytes of address space";
  Allow({"/bin/dd", "if=/dev/zero", "of=/dev/null", "bs=1G", "count=1"}).fences.memory_bytes = 64 << 20;
  const absl::Status status = Run().status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(status.message()), HasSubstr("memory was refused: its limit is 67108864 bytes"));
}

TEST_F(CommandHandlerTest, WhatIsNotAllowedAnyMoreDoesNotRun) {
  const CommandWork gone{std::make_shared<const CommandCall>(CommandCall{"other", {}, {}, ""})};
  const absl::Status status = handler_->Run(gone, context_).status();
  EXPECT_EQ(ReasonOf(status), "COMMAND_NOT_ALLOWED");
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  Allow({"/bin/true"});
  const absl::Status changed = Run("", {{"x", "1"}}).status();
  EXPECT_EQ(ReasonOf(changed), "COMMAND_NOT_ALLOWED");
  EXPECT_THAT(std::string(changed.message()), HasSubstr("job.command.arguments[\"x\"]: is no parameter"));
}

TEST_F(CommandHandlerTest, WhatCannotBeStartedSaysWhy) {
  Allow({"/nonexistent"});
  const absl::Status status = Run().status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("No such file"));
  EXPECT_FALSE(context_.result_of_failure.has_value());
}

TEST(CapturedStreamTest, KeepsTheBeginningAndKnowsTheEnd) {
  CapturedStream stream(10);
  stream.Append("12345");
  EXPECT_EQ(stream.End(), "12345");
  stream.Append("67890");
  EXPECT_FALSE(stream.truncated());
  stream.Append("");
  EXPECT_FALSE(stream.truncated());
  EXPECT_EQ(stream.End(), "1234567890");
  stream.Append("abc");
  stream.Append("d");
  EXPECT_TRUE(stream.truncated());
  EXPECT_EQ(stream.kept(), "1234567890");
  EXPECT_EQ(stream.End(), "1234567890abcd");
  stream.Append(std::string(CapturedStream::kEndBytes - 1, 'x') + "y");
  EXPECT_EQ(stream.End(), std::string(CapturedStream::kEndBytes - 1, 'x') + "y");
  stream.Append("z");
  EXPECT_EQ(stream.End(), std::string(CapturedStream::kEndBytes - 2, 'x') + "yz");
  EXPECT_EQ(stream.TakeKept(), "1234567890");
}

}  // namespace
}  // namespace jobpool
