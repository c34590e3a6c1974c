#include "server/process/keeper.h"

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <optional>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/process/child_signals.h"
#include "server/process/descendants.h"
#include "server/process/exec_pointers.h"
#include "server/process/fd.h"
#include "server/process/fences.h"
#include "server/process/message_socket.h"
#include "server/process/remove_folder.h"
#include "server/process/usage_codec.h"

namespace jobpool {
namespace {

using process::v1::KeeperReport;
using process::v1::KeeperRequest;
using process::v1::Launch;

// Where the child that has not begun yet says why it cannot.
constexpr int kFailureFd = 3;
constexpr int kWorkerFd = 4;
// Who starts others faster than they can be found may outrun this: `processes` is against that.
constexpr int kMaxRounds = 10'000;
constexpr int kRoundMs = 100;

Fences FencesOf(const process::v1::Fences& encoded) {
  Fences fences;
  fences.memory_bytes = encoded.memory_bytes();
  fences.cpu_seconds = encoded.cpu_seconds();
  fences.file_bytes = encoded.file_bytes();
  fences.open_files = encoded.open_files();
  fences.processes = encoded.processes();
  fences.working_directory = encoded.working_directory();
  fences.user = encoded.user();
  return fences;
}

[[noreturn]] void Fail(const std::string& why) {
  (void)!write(kFailureFd, why.data(), why.size());
  _exit(127);
}

// The child, from the fork to its own first instruction.
[[noreturn]] void Begin(const Launch& launch, const KeeperFds& fds, int failure, const std::string& folder,
                        const WorkerMain& worker, pid_t keeper) {
  setsid();
  std::pair<int, int> moves[] = {{fds.standard_input, 0},
                                 {fds.standard_output, 1},
                                 {fds.standard_error, 2},
                                 {failure, kFailureFd},
                                 {fds.worker, kWorkerFd}};
  // Out of the way first.
  for (auto& [from, to] : moves) {
    if (from >= 0) from = fcntl(from, F_DUPFD_CLOEXEC, kWorkerFd + 1);
  }
  for (const auto& [from, to] : moves) {
    if (from >= 0) dup2(from, to);
  }
  fcntl(kFailureFd, F_SETFD, FD_CLOEXEC);
  fcntl(kWorkerFd, F_SETFD, FD_CLOEXEC);  // what a worker starts has nothing to say there
  close_range(fds.worker >= 0 ? kWorkerFd + 1 : kFailureFd + 1, ~0U, 0);
  // All that takes memory comes before there may be too little of it.
  std::vector<std::string> environment(launch.environment().begin(), launch.environment().end());
  std::vector<char*> environment_pointers = ExecPointers(environment);
  std::vector<std::string> argv(launch.argv().begin(), launch.argv().end());
  std::vector<char*> argv_pointers = ExecPointers(argv);
  if (const std::string failed = ApplyFences(FencesOf(launch.fences()), folder); !failed.empty())
    Fail(failed);
  if (getppid() != keeper) _exit(127);  // it was too late for the signal that comes with its end
  if (fds.worker >= 0) {
    environ = environment_pointers.data();
    close(kFailureFd);
    _exit(worker(kWorkerFd));
  }
  execve(argv_pointers[0], argv_pointers.data(), environment_pointers.data());
  Fail(absl::StrCat("cannot run ", argv[0], ": ", std::strerror(errno)));
}

// Those that have not ended yet may have made more meanwhile.
void KillDescendants() {
  for (const pid_t pid : DescendantsOf(getpid())) kill(pid, SIGKILL);
}

KeeperReport ReportOf(int status, const rusage& usage) {
  KeeperReport report;
  KeeperReport::End& end = *report.mutable_end();
  if (WIFSIGNALED(status)) {
    end.set_signal(WTERMSIG(status));
  } else {
    end.set_exit_status(WEXITSTATUS(status));
  }
  EncodeUsage(ResourceUsage::Of(usage), end.mutable_usage());
  return report;
}

/// One program and what comes of it.
class Keeper {
 public:
  explicit Keeper(int control) : control_(control), reader_(control) {
    // Their end is read from a descriptor. Whoever asks them all to end does not mean this one.
    children_ = WatchChildrenOnly();
  }

  int Run(const Launch& launch, const KeeperFds& fds, const WorkerMain& worker) {
    KeeperReport begun;
    begun.set_begun(true);
    if (!WriteMessage(control_, begun).ok()) return 0;
    const Fences fences = FencesOf(launch.fences());
    const std::string folder = fences.working_directory.empty() ? MakeProgramFolder(fences) : "";
    if (const std::string failed = Start(launch, fds, folder, worker); !failed.empty()) {
      KeeperReport report;
      if (program_ > 0) {
        report.set_failure(failed);
      } else {
        report.set_unavailable(failed);
      }
      (void)WriteMessage(control_, report);
      if (!folder.empty()) RemoveFolder(folder);
      return 0;
    }
    KeeperReport started;
    started.set_started_pid(program_);
    if (!WriteMessage(control_, started).ok()) lost_ = true;
    while (!ended_.has_value() && !lost_) AwaitSomething();
    EndAll();
    // None of its processes is left when this is said. Its folder may be large.
    if (ended_.has_value()) (void)WriteMessage(control_, *ended_);
    if (!folder.empty()) RemoveFolder(folder);
    return 0;
  }

 private:
  std::string Start(const Launch& launch, const KeeperFds& fds, const std::string& folder,
                    const WorkerMain& worker) {
    if (folder.empty() && launch.fences().working_directory().empty()) return "cannot make a folder for it";
    if (!children_) return "there are too many descriptors";
    int failure[2];
    if (pipe2(failure, O_CLOEXEC) != 0) return absl::StrCat("cannot make a pipe: ", std::strerror(errno));
    const Fd failure_read(failure[0]);
    Fd failure_write(failure[1]);
    const pid_t self = getpid();
    program_ = fork();
    if (program_ < 0) return absl::StrCat("cannot fork: ", std::strerror(errno));
    if (program_ == 0) Begin(launch, fds, failure_write.get(), folder, worker, self);
    failure_write.Reset();
    for (const int fd : {fds.standard_input, fds.standard_output, fds.standard_error, fds.worker}) {
      if (fd >= 0) close(fd);
    }
    std::string why;
    std::array<char, 1024> part{};
    // The server may end meanwhile, or have enough of waiting.
    pollfd ready[] = {{failure_read.get(), POLLIN, 0}, {control_, POLLIN, 0}};
    while (!lost_) {
      poll(ready, 2, -1);
      if (ready[1].revents != 0) ReadRequests();
      if (ready[0].revents == 0) continue;
      const ssize_t size = read(failure_read.get(), part.data(), part.size());
      if (size == 0) break;
      if (size > 0) why.append(part.data(), static_cast<size_t>(size));
    }
    if (!why.empty()) EndAll();
    return why;
  }

  void AwaitSomething() {
    pollfd ready[] = {{control_, POLLIN, 0}, {children_.get(), POLLIN, 0}};
    poll(ready, 2, -1);
    if (ready[1].revents != 0) {
      DrainSignals();
      Reap();
    }
    if (ready[0].revents != 0) ReadRequests();
  }

  void ReadRequests() {
    KeeperRequest request;
    for (;;) {
      const auto got = reader_.Read(request);
      if (got.ok() && *got == MessageReader::Got::kNothing) return;
      if (!got.ok() || *got == MessageReader::Got::kEnd) {
        lost_ = true;
        return;
      }
      Signal(request.signal());
    }
  }

  void Signal(int signal) {
    if (signal == SIGKILL) {
      KillAll();
    } else if (!ended_.has_value()) {
      kill(-program_, signal);
    }
  }

  // False: there is no child any more.
  bool Reap() {
    for (;;) {
      int status = 0;
      rusage usage{};
      const pid_t pid = wait4(-1, &status, WNOHANG, &usage);
      if (pid == 0) return true;
      if (pid < 0 && errno == EINTR) continue;
      if (pid < 0) return false;
      if (pid == program_) ended_ = ReportOf(status, usage);
    }
  }

  // The program's group first, whatever can be known of the others.
  void KillAll() {
    if (!ended_.has_value()) {
      kill(-program_, SIGKILL);
      kill(program_, SIGKILL);
    }
    KillDescendants();
  }

  void EndAll() {
    for (int round = 0; round < kMaxRounds; ++round) {
      if (!Reap()) return;
      KillAll();
      if (!Reap()) return;
      pollfd ended = {children_.get(), POLLIN, 0};
      poll(&ended, 1, kRoundMs);
      DrainSignals();
    }
  }

  void DrainSignals() {
    signalfd_siginfo ignored;
    while (read(children_.get(), &ignored, sizeof(ignored)) > 0) {
    }
  }

  const int control_;
  MessageReader reader_;
  Fd children_;
  pid_t program_ = 0;
  bool lost_ = false;  // the server
  std::optional<KeeperReport> ended_;
};

}  // namespace

int KeepProgram(const Launch& launch, const KeeperFds& fds, const WorkerMain& worker) {
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  SetNonBlocking(fds.control);
  return Keeper(fds.control).Run(launch, fds, worker);
}

}  // namespace jobpool
