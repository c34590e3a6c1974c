#include "server/process/program_failure.h"

#include <csignal>
#include <gmock/gmock.h>
#include <string>

#include <gtest/gtest.h>

#include "absl/strings/match.h"

namespace jobpool {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

Fences AllFences() {
  Fences fences;
  fences.memory_bytes = 512 << 20;
  fences.cpu_seconds = 10;
  fences.file_bytes = 1000;
  fences.open_files = 64;
  return fences;
}

ProgramEnd Exited(int status) {
  ProgramEnd end;
  end.exit_status = status;
  return end;
}

ProgramEnd Signalled(int signal, absl::Duration cpu = absl::ZeroDuration()) {
  ProgramEnd end;
  end.signal = signal;
  end.usage.user_cpu_time = cpu / 2;
  end.usage.system_cpu_time = cpu / 2;
  return end;
}

TEST(ProgramFailureTest, SaysStatusOrSignalAndTheLastWords) {
  const ProgramFailure exited = FailureOf(Exited(3), AllFences(), "first\nlast\n");
  EXPECT_EQ(exited.text, "exit status 3; the end of its stderr: first | last");
  EXPECT_EQ(exited.limit, "");
  EXPECT_EQ(FailureOf(Signalled(SIGSEGV), AllFences(), "").text, "ended by signal 11 (SIGSEGV)");
  EXPECT_EQ(FailureOf(Signalled(63), {}, "").text, "ended by signal 63");
}

TEST(ProgramFailureTest, SaysWhichLimitItReached) {
  const struct {
    ProgramEnd end;
    const char* words;
    const char* limit;
  } cases[] = {
      {Signalled(SIGXCPU), "", "cpu"},
      {Signalled(SIGKILL, absl::Seconds(10)), "", "cpu"},
      {Signalled(SIGKILL, absl::Seconds(9)), "", ""},
      {Signalled(SIGXFSZ), "", "file_size"},
      {Exited(1), "dd: error writing 'x': File too large\n", "file_size"},
      {Exited(1), "OSError: [Errno 27] File too large", "file_size"},
      {Exited(1), "MemoryError\n", "memory"},
      {Exited(2), "x: Cannot allocate memory", "memory"},
      {Signalled(SIGABRT), "terminate called after throwing an instance of 'std::bad_alloc'", "memory"},
      {Exited(1), "OSError: [Errno 24] Too many open files: 'x'", "open_files"},
      {Exited(1), "no such file", ""},
      {Signalled(SIGSEGV), "", ""},
  };
  for (const auto& [end, words, limit] : cases) {
    const ProgramFailure failure = FailureOf(end, AllFences(), words);
    EXPECT_EQ(failure.limit, limit) << failure.text;
    EXPECT_EQ(absl::StrContains(failure.text, "limit"), *limit != '\0') << failure.text;
    // Without limits none was reached, whatever it says.
    EXPECT_EQ(FailureOf(end, {}, words).limit, "") << words;
  }
}

TEST(ProgramFailureTest, AnEndThatIsNotKnownIsNotItsOwn) {
  ProgramEnd end = Signalled(SIGKILL);
  end.failure = "its keeper was killed";
  EXPECT_EQ(FailureOf(end, AllFences(), "").text, "how it ended is not known: its keeper was killed");
}

TEST(ProgramFailureTest, LastLinesArePrintableAndFew) {
  EXPECT_EQ(LastLines(""), "");
  EXPECT_EQ(LastLines("\n\n"), "");
  EXPECT_EQ(LastLines("1\n2\r\n3\n\n4\n5\n6\n7\n"), "3 | 4 | 5 | 6 | 7");
  EXPECT_EQ(LastLines("a\x1b[31mb\tc\xff"), "a?[31mb c?");
  EXPECT_EQ(LastLines(std::string("a\0b", 3)), "a?b");
  EXPECT_EQ(LastLines("caf\xc3\xa9"), "caf\xc3\xa9");
  EXPECT_EQ(LastLines("x\xc3"), "x?");
  const std::string long_line = LastLines(std::string(5000, 'x') + "end");
  EXPECT_LE(long_line.size(), 500u);
  EXPECT_THAT(long_line, HasSubstr("xend"));
  // Cut within a character.
  std::string accents;
  for (int i = 0; i < 1000; ++i) accents += "\xc3\xa9";
  EXPECT_THAT(LastLines(accents + "x"), Not(HasSubstr("?")));
}

}  // namespace
}  // namespace jobpool
