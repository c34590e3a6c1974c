// jobpoold: flags -> Config -> App -> wait.

#include <cstdio>
#include <cstdlib>
#include <optional>
#include <signal.h>
#include <sys/signalfd.h>
#include <system_error>
#include <unistd.h>

#include "server/app/app.h"
#include "server/app/config.h"
#include "server/app/library_logs.h"
#include "server/telemetry/log.h"

namespace {

// Blocks the signals that ask for an end, for this and all threads to come, and
// returns a descriptor to read them from.
int TakeSignals() {
  signal(SIGPIPE, SIG_IGN);
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  return signalfd(-1, &signals, SFD_CLOEXEC);
}

void AwaitSignal(int signals) {
  signalfd_siginfo info;
  while (read(signals, &info, sizeof(info)) != sizeof(info)) {
  }
}

}  // namespace

int main(int argc, char** argv) {
  const jobpool::CommandLine line = jobpool::ParseCommandLine(argc, argv);
  if (!line.run) {
    std::fprintf(line.exit_status == 0 ? stdout : stderr, "%s\n", line.text.c_str());
    return line.exit_status;
  }
  const int signals = TakeSignals();
  if (const absl::Status status = jobpool::InitLog(line.config.log_level); !status.ok()) return 2;
  jobpool::SendLibraryLogsToOurs();

  std::optional<jobpool::App> app;
  try {
    app.emplace(line.config);
  } catch (const std::system_error& error) {  // no more threads to be had
    std::fprintf(stderr, "jobpoold: cannot start: %s\n", error.what());
    return 2;
  }
  if (const absl::Status started = app->Start(); !started.ok()) {
    std::fprintf(stderr, "jobpoold: %s\n", std::string(started.message()).c_str());
    return 2;
  }
  jobpool::ShowGrpcErrors();
  AwaitSignal(signals);
  // A job that does not end when asked to holds its thread: nothing but the end of
  // the process ends that.
  if (!app->Shutdown(signals)) std::_Exit(0);
  return 0;
}
