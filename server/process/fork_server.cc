#include "server/process/fork_server.h"

#include <cerrno>
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "jobpool/process/v1/process.pb.h"
#include "server/base/status_macros.h"
#include "server/process/exec_pointers.h"
#include "server/process/fork_server_main.h"
#include "server/process/message_socket.h"
#include "server/process/usage_codec.h"

namespace jobpool {
namespace {

using process::v1::KeeperReport;
using process::v1::KeeperRequest;

// How long something may take to begin. It takes milliseconds.
constexpr int kStartTimeoutMs = 10'000;

struct Pipe {
  Fd read;
  Fd write;
};

absl::StatusOr<Pipe> MakePipe() {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) {
    return absl::UnavailableError(absl::StrCat("cannot make a pipe: ", std::strerror(errno)));
  }
  return Pipe{Fd(ends[0]), Fd(ends[1])};
}

// Of the fork server: nothing that a worker, which has the same memory, should not know.
std::vector<std::string> Environment() {
  std::vector<std::string> environment = {"LANG=C.UTF-8"};
  for (char** variable = environ; *variable != nullptr; ++variable) {
    const absl::string_view text = *variable;
    const absl::string_view name = text.substr(0, text.find('='));
    if (name == "TMPDIR" || absl::EndsWith(name, "SAN_OPTIONS")) environment.emplace_back(text);
  }
  return environment;
}

/// The server's side of a keeper. That ends what it keeps when the socket to it is closed.
class KeptProgram final : public Program {
 public:
  KeptProgram(Fd control, Fd standard_input, Fd standard_output, Fd standard_error)
      : control_(std::move(control)),
        standard_input_(std::move(standard_input)),
        standard_output_(std::move(standard_output)),
        standard_error_(std::move(standard_error)),
        reader_(control_.get()) {
    SetNonBlocking(control_.get());
    SetNonBlocking(standard_input_.get());
    SetNonBlocking(standard_output_.get());
    SetNonBlocking(standard_error_.get());
  }

  // Waits for its start. `kept`: whether there has been a keeper, or the fork server has said why not.
  absl::Status AwaitStart(bool* kept) {
    pollfd readable = {control_.get(), POLLIN, 0};
    KeeperReport report;
    MutexLock lock(mu_);
    for (;;) {
      JOBPOOL_ASSIGN_OR_RETURN(const MessageReader::Got got, reader_.Read(report));
      if (got == MessageReader::Got::kEnd) return absl::UnavailableError("its keeper has ended");
      if (got == MessageReader::Got::kNothing) {
        if (poll(&readable, 1, kStartTimeoutMs) == 0)
          return absl::UnavailableError("it takes too long to start");
        continue;
      }
      *kept = true;
      if (!report.has_begun()) break;
    }
    if (report.has_unavailable()) return absl::UnavailableError(report.unavailable());
    if (report.has_failure()) return absl::FailedPreconditionError(report.failure());
    pid_ = static_cast<pid_t>(report.started_pid());
    return absl::OkStatus();
  }

  pid_t pid() const override { return pid_; }
  int stdin_fd() const override { return standard_input_.get(); }
  int stdout_fd() const override { return standard_output_.get(); }
  int stderr_fd() const override { return standard_error_.get(); }
  void CloseStdin() override { standard_input_.Reset(); }
  int exit_fd() const override { return control_.get(); }

  std::optional<ProgramEnd> End() override {
    MutexLock lock(mu_);
    if (end_.has_value()) return end_;
    KeeperReport report;
    const auto got = reader_.Read(report);
    if (got.ok() && *got == MessageReader::Got::kNothing) return std::nullopt;
    if (got.ok() && *got == MessageReader::Got::kMessage && report.has_end()) {
      end_ = ProgramEnd{report.end().exit_status(), report.end().signal(), DecodeUsage(report.end().usage()),
                        ""};
    } else {
      end_ = ProgramEnd{0, SIGKILL, {}, "its keeper was killed"};
    }
    return end_;
  }

  void Signal(int signal) override {
    KeeperRequest request;
    request.set_signal(signal);
    MutexLock lock(mu_);
    (void)TryWriteMessage(control_.get(), request);
  }

 private:
  const Fd control_;
  Fd standard_input_;
  const Fd standard_output_;
  const Fd standard_error_;
  pid_t pid_ = 0;

  Mutex mu_;
  MessageReader reader_ ABSL_GUARDED_BY(mu_);
  std::optional<ProgramEnd> end_ ABSL_GUARDED_BY(mu_);
};

process::v1::Launch Encode(const ProgramSpec& spec) {
  process::v1::Launch launch;
  for (const std::string& argument : spec.argv) launch.add_argv(argument);
  for (const std::string& variable : spec.environment) launch.add_environment(variable);
  process::v1::Fences& fences = *launch.mutable_fences();
  fences.set_memory_bytes(spec.fences.memory_bytes);
  fences.set_cpu_seconds(spec.fences.cpu_seconds);
  fences.set_file_bytes(spec.fences.file_bytes);
  fences.set_open_files(spec.fences.open_files);
  fences.set_processes(spec.fences.processes);
  fences.set_working_directory(spec.fences.working_directory);
  fences.set_user(spec.fences.user);
  return launch;
}

}  // namespace

ForkServer::~ForkServer() {
  MutexLock lock(mu_);
  EndServer();
}

absl::Status ForkServer::StartServer() {
  if (socket_) {
    if (waitpid(server_, nullptr, WNOHANG) == 0) return absl::OkStatus();
    server_ = 0;  // it has ended, and its number may be another's
  }
  EndServer();
  JOBPOOL_ASSIGN_OR_RETURN(auto ends, MakeSocketPair());
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, ends.second.get(), STDIN_FILENO);
  // What the server has open without FD_CLOEXEC is none of a child's business.
  posix_spawn_file_actions_addclosefrom_np(&actions, STDERR_FILENO + 1);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  // Signals of a terminal, or to the server's group, are the server's.
  sigset_t signals;
  sigfillset(&signals);
  posix_spawnattr_setsigdefault(&attributes, &signals);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGDEF);
  std::vector<std::string> arguments = {"jobpoold", kForkServerArgument};
  arguments.insert(arguments.end(), arguments_.begin(), arguments_.end());
  std::vector<std::string> environment = Environment();
  const int error = posix_spawn(&server_, binary_.c_str(), &actions, &attributes,
                                ExecPointers(arguments).data(), ExecPointers(environment).data());
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) {
    server_ = 0;
    return absl::UnavailableError(absl::StrCat("cannot start the fork server: ", std::strerror(error)));
  }
  socket_ = std::move(ends.first);
  SetNonBlocking(socket_.get());
  return absl::OkStatus();
}

void ForkServer::EndServer() {
  socket_.Reset();
  if (server_ == 0) return;
  // It ends with the socket; where it was stopped it would not.
  kill(server_, SIGKILL);
  waitpid(server_, nullptr, 0);
  server_ = 0;
}

absl::StatusOr<std::unique_ptr<Program>> ForkServer::Launch(const ProgramSpec& spec, int worker_socket) {
  bool again = false;
  auto program = TryLaunch(spec, worker_socket, &again);
  return again ? TryLaunch(spec, worker_socket, &again) : std::move(program);
}

// `again`: whether the fork server had ended, or been stopped, since it was last seen.
absl::StatusOr<std::unique_ptr<Program>> ForkServer::TryLaunch(const ProgramSpec& spec, int worker_socket,
                                                               bool* again) {
  *again = false;
  JOBPOOL_ASSIGN_OR_RETURN(auto control, MakeSocketPair());
  JOBPOOL_ASSIGN_OR_RETURN(Pipe standard_input, MakePipe());
  JOBPOOL_ASSIGN_OR_RETURN(Pipe standard_output, MakePipe());
  JOBPOOL_ASSIGN_OR_RETURN(Pipe standard_error, MakePipe());
  std::vector<int> descriptors = {control.second.get(), standard_input.read.get(),
                                  standard_output.write.get(), standard_error.write.get()};
  if (worker_socket >= 0) descriptors.push_back(worker_socket);
  const process::v1::Launch launch = Encode(spec);
  pid_t server = 0;
  {
    MutexLock lock(mu_);
    JOBPOOL_RETURN_IF_ERROR(StartServer());
    server = server_;
    if (const absl::Status sent = WriteMessage(socket_.get(), launch, descriptors, kStartTimeoutMs);
        !sent.ok()) {
      EndServer();
      *again = true;
      return sent;
    }
  }
  auto program =
      std::make_unique<KeptProgram>(std::move(control.first), std::move(standard_input.write),
                                    std::move(standard_output.read), std::move(standard_error.read));
  // So that its end is seen.
  control.second.Reset();
  standard_input.read.Reset();
  standard_output.write.Reset();
  standard_error.write.Reset();
  bool kept = false;
  const absl::Status started = program->AwaitStart(&kept);
  if (!kept) {
    MutexLock lock(mu_);
    if (server_ == server) EndServer();
    *again = true;
  }
  JOBPOOL_RETURN_IF_ERROR(started);
  return program;
}

absl::StatusOr<std::unique_ptr<Program>> ForkServer::Start(const ProgramSpec& spec) {
  if (spec.argv.empty() || spec.argv.front().empty() || spec.argv.front().front() != '/') {
    return absl::FailedPreconditionError("a program needs an absolute path");
  }
  return Launch(spec, -1);
}

absl::StatusOr<WorkerProcess> ForkServer::StartWorker(const ProgramSpec& spec) {
  JOBPOOL_ASSIGN_OR_RETURN(auto ends, MakeSocketPair());
  JOBPOOL_ASSIGN_OR_RETURN(auto program, Launch(spec, ends.second.get()));
  return WorkerProcess{std::move(program), std::move(ends.first)};
}

}  // namespace jobpool
