// Real programs, in real processes.

#include "server/process/fork_server.h"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <poll.h>
#include <sstream>
#include <string>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "jobpool/process/v1/process.pb.h"
#include "server/base/sanitizers.h"
#include "server/process/descendants.h"
#include "server/process/message_socket.h"
#include "tests/support/eventually.h"
#include "tests/support/temp_dir.h"

namespace jobpool {
namespace {

using testing::Test;

constexpr int kPatienceMs = 60'000;

class ForkServerTest : public Test {
 protected:
  static ProgramSpec Shell(const std::string& script) {
    ProgramSpec spec;
    spec.argv = {"/bin/sh", "-c", script};
    spec.environment = {"PATH=/usr/bin:/bin"};
    return spec;
  }

  static ProgramSpec Echo() {
    ProgramSpec spec;
    spec.environment = {"TEST_WORKER=echo"};
    return spec;
  }

  std::unique_ptr<Program> Start(const ProgramSpec& spec) {
    auto program = server_.Start(spec);
    if (!program.ok()) ADD_FAILURE() << program.status();
    return program.ok() ? *std::move(program) : nullptr;
  }

  static std::string ReadAll(int fd) {
    std::string all;
    char part[4096];
    for (;;) {
      const ssize_t size = read(fd, part, sizeof(part));
      if (size > 0) all.append(part, static_cast<size_t>(size));
      if (size == 0) return all;
      if (size < 0 && errno == EAGAIN) {
        pollfd readable = {fd, POLLIN, 0};
        if (poll(&readable, 1, kPatienceMs) == 0) {
          ADD_FAILURE() << "nothing comes";
          return all;
        }
      }
    }
  }

  // What it prints, up to the end of a line.
  static std::string ReadLine(int fd) {
    std::string line;
    char one = 0;
    for (;;) {
      const ssize_t size = read(fd, &one, 1);
      if (size == 0 || (size == 1 && one == '\n')) return line;
      if (size == 1) line += one;
      if (size < 0) {
        pollfd readable = {fd, POLLIN, 0};
        if (poll(&readable, 1, kPatienceMs) == 0) {
          ADD_FAILURE() << "nothing comes";
          return line;
        }
      }
    }
  }

  static ProgramEnd AwaitEnd(Program& program) {
    for (;;) {
      if (auto end = program.End(); end.has_value()) return *end;
      pollfd readable = {program.exit_fd(), POLLIN, 0};
      if (poll(&readable, 1, kPatienceMs) == 0) {
        ADD_FAILURE() << "it does not end";
        return {};
      }
    }
  }

  struct Ran {
    std::string out;
    std::string err;
    ProgramEnd end;
  };

  Ran Run(const ProgramSpec& spec) {
    const auto program = Start(spec);
    if (program == nullptr) return {};
    program->CloseStdin();
    Ran ran;
    ran.out = ReadAll(program->stdout_fd());
    ran.err = ReadAll(program->stderr_fd());
    ran.end = AwaitEnd(*program);
    return ran;
  }

  static bool Lives(pid_t pid) { return kill(pid, 0) == 0; }

  static size_t OpenDescriptors() {
    return static_cast<size_t>(std::distance(std::filesystem::directory_iterator("/proc/self/fd"), {}));
  }

  static std::vector<pid_t> Pids(const std::string& text) {
    std::vector<pid_t> pids;
    for (const auto word : absl::StrSplit(text, absl::ByAnyChar(" \n"), absl::SkipEmpty())) {
      pid_t pid = 0;
      EXPECT_TRUE(absl::SimpleAtoi(word, &pid)) << text;
      pids.push_back(pid);
    }
    return pids;
  }

  ForkServer server_;
};

TEST_F(ForkServerTest, GivesAndTakesStreams) {
  const auto program = Start(Shell("cat; echo to stderr >&2"));
  ASSERT_EQ(write(program->stdin_fd(), "abc", 3), 3);
  program->CloseStdin();
  EXPECT_EQ(program->stdin_fd(), -1);
  EXPECT_EQ(ReadAll(program->stdout_fd()), "abc");
  EXPECT_EQ(ReadAll(program->stderr_fd()), "to stderr\n");
  const ProgramEnd end = AwaitEnd(*program);
  EXPECT_EQ(end.exit_status, 0);
  EXPECT_EQ(end.signal, 0);
  EXPECT_EQ(end.failure, "");
}

TEST_F(ForkServerTest, TellsHowItEnded) {
  EXPECT_EQ(Run(Shell("exit 3")).end.exit_status, 3);
  EXPECT_EQ(Run(Shell("kill -SEGV $$")).end.signal, SIGSEGV);
}

TEST_F(ForkServerTest, TellsWhatItUsed) {
  const ResourceUsage usage = Run(Shell("i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done")).end.usage;
  EXPECT_GT(usage.user_cpu_time, absl::Milliseconds(1));
  EXPECT_LT(usage.user_cpu_time, absl::Minutes(1));
  EXPECT_GT(usage.peak_memory_bytes, 100'000);
  EXPECT_GT(usage.minor_page_faults, 10);
}

TEST_F(ForkServerTest, ArgumentsArriveAsTheyAre) {
  ProgramSpec spec = Shell(R"(for i; do printf '<%s>' "$i"; done)");
  for (const char* argument :
       {"sh", "$(id)", "a b", "`id`; rm -rf /", "line\nline", "--help", "", "../..", "\"'\\*"}) {
    spec.argv.push_back(argument);
  }
  EXPECT_EQ(Run(spec).out, "<$(id)><a b><`id`; rm -rf /><line\nline><--help><><../..><\"'\\*>");
}

TEST_F(ForkServerTest, AnArgumentThatIsTooLongIsRefused) {
  ProgramSpec spec = Shell(":");
  spec.argv.push_back(std::string(1 << 20, 'x'));
  const absl::Status status = server_.Start(spec).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(status.message(), "cannot run /bin/sh: Argument list too long");
}

TEST_F(ForkServerTest, WhatCannotRunIsRefused) {
  const auto why = [&](const ProgramSpec& spec) {
    const absl::Status status = server_.Start(spec).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
    return std::string(status.message());
  };
  ProgramSpec spec = Shell(":");
  spec.argv[0] = "/nowhere/program";
  EXPECT_EQ(why(spec), "cannot run /nowhere/program: No such file or directory");
  spec.argv[0] = "sh";
  EXPECT_EQ(why(spec), "a program needs an absolute path");
  spec.argv.clear();
  EXPECT_EQ(why(spec), "a program needs an absolute path");
  spec = Shell(":");
  spec.fences.working_directory = "/nowhere";
  EXPECT_EQ(why(spec), "cannot change to the folder /nowhere: No such file or directory");
  spec = Shell(":");
  spec.fences.user = "nobody-of-that-name";
  EXPECT_EQ(why(spec), "there is no user nobody-of-that-name");
}

TEST_F(ForkServerTest, SeesNothingOfTheServer) {
  setenv("JOBPOOL_TEST_SECRET", "x", 1);
  const int open_file = open("/dev/null", O_RDONLY);  // without O_CLOEXEC
  ProgramSpec spec = Shell(
      "env; echo; ls /proc/self/fd; umask; trap; grep -E 'NoNewPrivs|SigBlk|SigIgn' /proc/self/status; "
      "ulimit -c");
  spec.environment.push_back("A=b");
  const std::string out = Run(spec).out;
  close(open_file);
  unsetenv("JOBPOOL_TEST_SECRET");
  // The two signals of the C library's own it lets nobody change.
  EXPECT_EQ(
      absl::StrReplaceAll(out.substr(out.find("\n\n")), {{"0000000180000000", "0000000000000000"},
                                                         {"0000000080000000", "0000000000000000"}}),
      "\n\n0\n1\n2\n3\n0077\nSigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\nNoNewPrivs:\t1\n0\n");
  EXPECT_TRUE(absl::StrContains(out, "A=b\n")) << out;
  EXPECT_FALSE(absl::StrContains(out, "SECRET")) << out;
  EXPECT_FALSE(absl::StrContains(out, "HOME")) << out;
}

TEST_F(ForkServerTest, HasASessionAndAFolderOfItsOwn) {
  const auto program =
      Start(Shell("echo $$ $(cut -d' ' -f5,6 /proc/$$/stat); pwd; touch file; ls -a; stat -c %a ."));
  std::istringstream out(ReadAll(program->stdout_fd()));
  pid_t pid = 0, group = 0, session = 0;
  std::string folder, file;
  out >> pid >> group >> session >> folder;
  EXPECT_EQ(pid, program->pid());
  EXPECT_EQ(group, pid);
  EXPECT_EQ(session, pid);
  EXPECT_EQ(std::string(std::istreambuf_iterator<char>(out), {}), "\n.\n..\nfile\n700\n");
  AwaitEnd(*program);
  EXPECT_TRUE(Eventually([&] { return !std::filesystem::exists(folder); })) << folder;
}

TEST_F(ForkServerTest, CanHaveAFolderThatStays) {
  const TempDir folder;
  ProgramSpec spec = Shell("pwd; echo x > file");
  spec.fences.working_directory = folder.Path("");
  EXPECT_EQ(Run(spec).end.exit_status, 0);
  EXPECT_TRUE(std::filesystem::exists(folder.Path("file")));
}

TEST_F(ForkServerTest, CanHaveAnotherUser) {
  if (geteuid() != 0) GTEST_SKIP() << "only root can become another";
  ProgramSpec spec = Shell("id -un; id -Gn; touch file && echo wrote; cat /etc/shadow; kill -0 1");
  spec.fences.user = "nobody";
  const Ran ran = Run(spec);
  EXPECT_EQ(ran.out, "nobody\nnogroup\nwrote\n");
  EXPECT_TRUE(absl::StrContains(ran.err, "Permission denied")) << ran.err;
}

TEST_F(ForkServerTest, IsBoundInFileSize) {
  ProgramSpec spec = Shell("exec head -c 3000000 /dev/zero > file");
  spec.fences.file_bytes = 1 << 20;
  EXPECT_EQ(Run(spec).end.signal, SIGXFSZ);
}

TEST_F(ForkServerTest, IsBoundInCpuTime) {
  ProgramSpec spec = Shell("while :; do :; done");
  spec.fences.cpu_seconds = 1;
  const ProgramEnd end = Run(spec).end;
  EXPECT_EQ(end.signal, SIGXCPU);
  // Not quite 1 s: the system holds what it has counted by ticks against the limit.
  EXPECT_GE(end.usage.user_cpu_time + end.usage.system_cpu_time, absl::Milliseconds(500));
}

TEST_F(ForkServerTest, IsBoundInOpenFiles) {
  ProgramSpec spec = Shell("ulimit -n; ulimit -Hn");
  spec.fences.open_files = 17;
  EXPECT_EQ(Run(spec).out, "17\n17\n");
}

TEST_F(ForkServerTest, IsBoundInMemory) {
  if (kSanitized) GTEST_SKIP() << "a sanitizer takes terabytes of address space";
  ProgramSpec spec;
  spec.argv = {"/usr/bin/perl", "-e", "$x = 'a' x (1 << 30); print length $x"};
  spec.fences.memory_bytes = 256 << 20;
  const Ran ran = Run(spec);
  EXPECT_NE(ran.end.exit_status, 0);
  EXPECT_TRUE(absl::StrContains(ran.err, "Out of memory")) << ran.err;
}

TEST_F(ForkServerTest, WhatDoesNotListenIsKilled) {
  const auto program = Start(Shell("trap '' TERM; echo ready; while :; do sleep 1000; done"));
  EXPECT_EQ(ReadLine(program->stdout_fd()), "ready");
  program->Signal(SIGTERM);
  EXPECT_FALSE(program->End().has_value());
  program->Signal(SIGKILL);
  EXPECT_EQ(AwaitEnd(*program).signal, SIGKILL);
}

TEST_F(ForkServerTest, ASignalReachesItsGroup) {
  const auto program =
      Start(Shell("sh -c 'trap \"echo child; exit\" TERM; echo ready; while :; do sleep 0.01; done' & "
                  "trap 'wait; exit 5' TERM; wait"));
  EXPECT_EQ(ReadLine(program->stdout_fd()), "ready");
  program->Signal(SIGTERM);
  EXPECT_EQ(ReadLine(program->stdout_fd()), "child");
  EXPECT_EQ(AwaitEnd(*program).exit_status, 5);
}

// They are children of children, in sessions of their own, whose parents have ended.
constexpr char kDaemons[] =
    "(setsid sh -c 'echo $$; exec sleep 1000' & setsid sh -c 'setsid sh -c \"echo \\$\\$; exec sleep 1000\" "
    "& exit' &) "
    "2>/dev/null; ";

TEST_F(ForkServerTest, NothingIsLeftOfIt) {
  for (const bool ends : {true, false}) {
    const auto program = Start(Shell(absl::StrCat(kDaemons, ends ? "sleep 0.2" : "exec sleep 1000")));
    std::vector<pid_t> daemons = Pids(absl::StrCat(ReadLine(program->stdout_fd()), " "));
    daemons.push_back(Pids(ReadLine(program->stdout_fd())).front());
    if (!ends) {
      for (const pid_t pid : daemons) EXPECT_TRUE(Lives(pid));
      program->Signal(SIGKILL);
    }
    EXPECT_EQ(AwaitEnd(*program).signal, ends ? 0 : SIGKILL);
    for (const pid_t pid : daemons) EXPECT_FALSE(Lives(pid)) << pid;
    EXPECT_FALSE(Lives(program->pid()));
  }
}

TEST_F(ForkServerTest, DestructionEndsIt) {
  auto program = Start(Shell(absl::StrCat(kDaemons, "exec sleep 1000")));
  std::vector<pid_t> pids =
      Pids(absl::StrCat(ReadLine(program->stdout_fd()), " ", ReadLine(program->stdout_fd())));
  pids.push_back(program->pid());
  program = nullptr;
  EXPECT_TRUE(Eventually([&] { return std::none_of(pids.begin(), pids.end(), &ForkServerTest::Lives); }));
}

TEST_F(ForkServerTest, AKilledKeeperTakesAllWithIt) {
  const auto program = Start(Shell(absl::StrCat(kDaemons, "exec sleep 1000")));
  const std::vector<pid_t> daemons =
      Pids(absl::StrCat(ReadLine(program->stdout_fd()), " ", ReadLine(program->stdout_fd())));
  std::ifstream status(absl::StrCat("/proc/", program->pid(), "/status"));
  pid_t keeper = 0;
  for (std::string line; std::getline(status, line);) {
    if (absl::StartsWith(line, "PPid:")) {
      EXPECT_TRUE(absl::SimpleAtoi(line.substr(5), &keeper));
    }
  }
  ASSERT_GT(keeper, 1);
  kill(keeper, SIGKILL);
  EXPECT_EQ(AwaitEnd(*program).failure, "its keeper was killed");
  EXPECT_TRUE(Eventually([&] {
    return !Lives(program->pid()) && std::none_of(daemons.begin(), daemons.end(), &ForkServerTest::Lives);
  }));
}

TEST_F(ForkServerTest, GoesOnWithoutItsForkServer) {
  const auto program = Start(Shell("read line; echo $line"));
  pid_t fork_server = 0;
  for (const pid_t child : ChildrenOf(getpid())) {
    std::string name;
    std::ifstream(absl::StrCat("/proc/", child, "/comm")) >> name;
    if (name == "jobpool-fork") fork_server = child;
  }
  ASSERT_NE(fork_server, 0);
  kill(fork_server, SIGKILL);
  ASSERT_TRUE(Eventually([&] { return server_.Start(Shell(":")).ok(); }));
  ASSERT_EQ(write(program->stdin_fd(), "on\n", 3), 3);
  EXPECT_EQ(ReadLine(program->stdout_fd()), "on");
  EXPECT_EQ(AwaitEnd(*program).exit_status, 0);
}

TEST_F(ForkServerTest, LeavesNoDescriptorAndNoZombie) {
  Run(Shell(":"));
  const size_t before = OpenDescriptors();
  for (int i = 0; i < 20; ++i) {
    Run(Shell("exit 1"));
    ProgramSpec missing = Shell(":");
    missing.argv[0] = "/nowhere";
    EXPECT_FALSE(server_.Start(missing).ok());
  }
  EXPECT_EQ(OpenDescriptors(), before);
  EXPECT_TRUE(Eventually([] { return DescendantsOf(getpid()).size() == 1; }));  // the fork server
}

TEST_F(ForkServerTest, ManyAtATime) {
  std::vector<std::unique_ptr<Program>> programs;
  for (int i = 0; i < 30; ++i) programs.push_back(Start(Shell(absl::StrCat("read x; exit ", i))));
  for (int i = 0; i < 30; ++i) {
    programs[i]->CloseStdin();
    EXPECT_EQ(AwaitEnd(*programs[i]).exit_status, i);
  }
}

TEST_F(ForkServerTest, AWorkerSpeaksOnItsSocket) {
  auto worker = server_.StartWorker(Echo());
  ASSERT_TRUE(worker.ok()) << worker.status();
  MessageReader reader(worker->socket.get());
  for (const size_t bytes : {size_t{0}, size_t{1}, size_t{3} << 20}) {
    process::v1::Launch message, answer;
    message.add_environment(std::string(bytes, 'x'));
    ASSERT_TRUE(WriteMessage(worker->socket.get(), message).ok());
    const auto got = reader.Read(answer);
    ASSERT_TRUE(got.ok() && *got == MessageReader::Got::kMessage);
    EXPECT_EQ(answer.SerializeAsString(), message.SerializeAsString());
  }
  worker->socket.Reset();
  EXPECT_EQ(AwaitEnd(*worker->program).exit_status, 7);
}

TEST_F(ForkServerTest, AWorkerThatCrashesSaysSo) {
  auto worker = server_.StartWorker(Echo());
  ASSERT_TRUE(worker.ok()) << worker.status();
  process::v1::Launch message;
  message.add_argv("abort");
  ASSERT_TRUE(WriteMessage(worker->socket.get(), message).ok());
  EXPECT_EQ(AwaitEnd(*worker->program).signal, SIGABRT);
  MessageReader reader(worker->socket.get());
  const auto got = reader.Read(message);
  EXPECT_TRUE(got.ok() && *got == MessageReader::Got::kEnd);
}

TEST(MessageSocketTest, RubbishIsNoMessage) {
  auto ends = MakeSocketPair();
  ASSERT_TRUE(ends.ok());
  const std::string rubbish = "\xff\xff\xff\xff rubbish";
  ASSERT_EQ(write(ends->first.get(), rubbish.data(), rubbish.size()), static_cast<ssize_t>(rubbish.size()));
  process::v1::Launch message;
  EXPECT_EQ(MessageReader(ends->second.get()).Read(message).status().code(), absl::StatusCode::kDataLoss);
}

}  // namespace
}  // namespace jobpool
