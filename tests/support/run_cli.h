#pragma once

#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "client/cli/app.h"

namespace jobpool::cli {

/// How a command ended, and what it printed.
struct CliRun {
  ExitStatus status;
  std::string out;
  std::string err;
};

/// Runs the CLI in this process, with the server at `address`. A command line that is
/// not understood fails the test.
inline CliRun RunCli(const std::string& address, const std::vector<std::string>& arguments) {
  std::vector<const char*> argv = {"jobpool", "--server", address.c_str()};
  for (const std::string& argument : arguments) argv.push_back(argument.c_str());
  const ParsedCommandLine parsed = ParseCommandLine(static_cast<int>(argv.size()), argv.data());
  EXPECT_TRUE(parsed.invocation.has_value()) << parsed.error;
  if (!parsed.invocation) return {parsed.status, parsed.output, parsed.error};
  const auto client = Client::Create(parsed.invocation->server);
  Session session{.client = **client, .format = parsed.invocation->format};
  testing::internal::CaptureStdout();
  testing::internal::CaptureStderr();
  const ExitStatus status = parsed.invocation->command(session);
  std::string err = testing::internal::GetCapturedStderr();
  return {status, testing::internal::GetCapturedStdout(), std::move(err)};
}

}  // namespace jobpool::cli
