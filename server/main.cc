// jobpoold: flags -> Config -> App -> wait.

#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <poll.h>
#include <signal.h>
#include <string>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <system_error>
#include <unistd.h>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "server/app/app.h"
#include "server/app/config.h"
#include "server/app/files.h"
#include "server/app/library_logs.h"
#include "server/app/stores.h"
#include "server/app/worker_main.h"
#include "server/process/fork_server_main.h"
#include "server/telemetry/log.h"

namespace {

constexpr int kTickMs = 1000;

// Blocks the signals that are for us, for this and all threads to come, and returns a descriptor to read
// them from.
int TakeSignals() {
  signal(SIGPIPE, SIG_IGN);
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&signals, signal);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  return signalfd(-1, &signals, SFD_CLOEXEC);
}

// From now on the descriptor tells of signals that ask for an end alone.
void IgnoreReloads(int descriptor) {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGTERM, SIGINT}) sigaddset(&signals, signal);
  signalfd(descriptor, &signals, 0);
}

// The signal that came; 0: none within a second.
unsigned AwaitSignal(int descriptor) {
  pollfd readable = {descriptor, POLLIN, 0};
  if (poll(&readable, 1, kTickMs) <= 0) return 0;
  signalfd_siginfo info;
  return read(descriptor, &info, sizeof(info)) == sizeof(info) ? info.ssi_signo : 0;
}

// As many as we may: of the limits, the soft one is for programs that use select(2). What is started has its
// own.
void AllowOpenFiles() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

int Refuse(const std::string& why) {
  std::fprintf(stderr, "jobpoold: %s\n", why.c_str());
  return 2;
}

// Copies the store's file. A signal ends it, and nothing is left behind.
int BackUp(const jobpool::Config& config, int signals) {
  const auto stop = [signals] {
    pollfd readable = {signals, POLLIN, 0};
    return poll(&readable, 1, 0) > 0;
  };
  const auto backup = jobpool::Stores::BackUp(config, stop);
  if (backup.ok()) {
    std::printf("%s: %" PRId64 " bytes, %" PRId64 " live and %" PRId64 " ended jobs\n",
                config.backup_to->c_str(), backup->bytes, backup->live_jobs, backup->ended_jobs);
    return 0;
  }
  std::fprintf(stderr, "jobpoold: %s\n", std::string(backup.status().message()).c_str());
  switch (backup.status().code()) {
    case absl::StatusCode::kNotFound:
    case absl::StatusCode::kAlreadyExists:
    case absl::StatusCode::kFailedPrecondition:
      return 2;
    default:
      return 1;
  }
}

}  // namespace

int main(int argc, char** argv) {
  // One of its own children; see ForkServer.
  if (argc >= 2 && std::strcmp(argv[1], jobpool::kForkServerArgument) == 0) {
    const std::vector<std::string> plugins(argv + 2, argv + argc);
    return jobpool::RunForkServer([&plugins](int socket) { return jobpool::RunJobWorker(socket, plugins); });
  }
  const jobpool::CommandLine line = jobpool::ParseCommandLine(argc, argv);
  if (!line.run) {
    std::fprintf(line.exit_status == 0 ? stdout : stderr, "%s\n", line.text.c_str());
    return line.exit_status;
  }
  // Debian's Abseil is built without NDEBUG: at each of gRPC's locks it would look for cycles, and abort at
  // one.
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  AllowOpenFiles();
  const int signals = TakeSignals();
  if (line.config.backup_to.has_value()) return BackUp(line.config, signals);
  if (const auto made = jobpool::InitLog(line.config.log_level, line.config.log_format); !made.ok()) {
    return Refuse(std::string(made.message()));
  }
  jobpool::SendLibraryLogsToOurs();
  auto files = jobpool::Files::Load(line.config);
  if (!files.ok()) return Refuse(std::string(files.status().message()));
  if (line.config.validate_config) {
    std::puts("valid");
    return 0;
  }

  auto stores = jobpool::Stores::Open(line.config, static_cast<size_t>((*files)->config().max_ended_jobs),
                                      static_cast<size_t>((*files)->config().max_ended_bytes));
  if (!stores.ok()) return Refuse(std::string(stores.status().message()));

  std::optional<jobpool::App> app;
  try {
    app.emplace(line.config, *std::move(files), *std::move(stores));
  } catch (const std::system_error& error) {  // no more threads to be had
    return Refuse(std::string("cannot start: ") + error.what());
  }
  if (const absl::Status started = app->Start(); !started.ok()) return Refuse(std::string(started.message()));
  jobpool::ShowGrpcErrors();
  for (unsigned signal = 0; signal != SIGTERM && signal != SIGINT; signal = AwaitSignal(signals)) {
    if (signal == SIGHUP) app->Reload();
    app->Tick();
  }
  IgnoreReloads(signals);
  // A job that does not end when asked to holds its thread: nothing but the end of
  // the process ends that.
  if (!app->Shutdown(signals)) std::_Exit(0);
  return 0;
}
