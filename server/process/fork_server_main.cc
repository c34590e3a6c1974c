#include "server/process/fork_server_main.h"

#include <cerrno>
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>
#include <unordered_set>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "jobpool/process/v1/process.pb.h"
#include "server/process/child_signals.h"
#include "server/process/descendants.h"
#include "server/process/fd.h"
#include "server/process/message_socket.h"

namespace jobpool {
namespace {

constexpr int kLaunches = 0;

class ForkServerMain {
 public:
  explicit ForkServerMain(const WorkerMain& worker) : worker_(worker), reader_(kLaunches) {}

  int Run() {
    prctl(PR_SET_NAME, "jobpool-fork");
    std::signal(SIGCHLD, SIG_DFL);  // an ignored one would hide every end
    // What a keeper has left behind, since somebody killed it, comes here.
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    SetNonBlocking(kLaunches);
    children_ = WatchChildrenOnly();
    for (;;) {
      pollfd ready[] = {{kLaunches, POLLIN, 0}, {children_.get(), POLLIN, 0}};
      poll(ready, 2, -1);
      if (ready[1].revents != 0) Reap();
      while (ready[0].revents != 0) {
        const MessageReader::Got got = Launch();
        if (got == MessageReader::Got::kEnd) return 0;  // the keepers know that the server has gone
        if (got == MessageReader::Got::kNothing) break;
      }
    }
  }

 private:
  // kEnd: the server has gone.
  MessageReader::Got Launch() {
    process::v1::Launch launch;
    std::vector<Fd> fds;
    const auto got = reader_.Read(launch, &fds);
    if (!got.ok()) return MessageReader::Got::kEnd;
    // Where some are missing, there were too many: who waits for them is told by their end.
    if (*got != MessageReader::Got::kMessage || fds.size() != (launch.argv_size() > 0 ? 4U : 5U)) return *got;
    const pid_t keeper = fork();
    if (keeper == 0) {
      close(kLaunches);
      open("/dev/null", O_RDWR | O_CLOEXEC);  // takes its place
      children_.Reset();
      KeeperFds kept = {fds[0].Release(), fds[1].Release(), fds[2].Release(), fds[3].Release(),
                        fds.size() > 4 ? fds[4].Release() : -1};
      _exit(KeepProgram(launch, kept, worker_));
    }
    if (keeper > 0) {
      keepers_.insert(keeper);
    } else {
      process::v1::KeeperReport report;
      report.set_unavailable(absl::StrCat("cannot fork: ", std::strerror(errno)));
      (void)TryWriteMessage(fds[0].get(), report);
    }
    return *got;
  }

  void Reap() {
    signalfd_siginfo ignored;
    while (read(children_.get(), &ignored, sizeof(ignored)) > 0) {
    }
    bool orphans = false;  // a keeper that ends in order leaves none
    int status = 0;
    for (pid_t pid = 0; (pid = waitpid(-1, &status, WNOHANG)) > 0;) {
      orphans = keepers_.erase(pid) == 0 || WIFSIGNALED(status) || orphans;
    }
    if (!orphans) return;
    for (const pid_t child : ChildrenOf(getpid())) {
      if (keepers_.contains(child)) continue;
      for (const pid_t descendant : DescendantsOf(child)) kill(descendant, SIGKILL);
      kill(child, SIGKILL);
    }
  }

  const WorkerMain& worker_;
  MessageReader reader_;
  Fd children_;
  std::unordered_set<pid_t> keepers_;
};

}  // namespace

int RunForkServer(const WorkerMain& worker) { return ForkServerMain(worker).Run(); }

}  // namespace jobpool
