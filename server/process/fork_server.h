#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "server/base/mutex.h"
#include "server/process/fd.h"
#include "server/process/program.h"

namespace jobpool {

/// A worker of the server's own: a program that speaks on a socket. What it writes elsewhere
/// comes from stderr_fd().
struct WorkerProcess {
  std::unique_ptr<Program> program;
  Fd socket;  // blocking
};

/// Starts fenced programs and workers by a fork server, a child with one thread, which is
/// started with the first of them and again where it has ended. Thread-safe; outlives what
/// it has started.
class ForkServer final : public ProgramStarter {
 public:
  /// `binary`: a program that begins with RunForkServer where its first argument says so;
  /// the default is the one that runs. `arguments`: it gets these after that.
  explicit ForkServer(std::vector<std::string> arguments = {}, std::string binary = "/proc/self/exe")
      : arguments_(std::move(arguments)), binary_(std::move(binary)) {}
  /// Ends all that is left.
  ~ForkServer() override;

  absl::StatusOr<std::unique_ptr<Program>> Start(const ProgramSpec& spec) override;

  /// Likewise; the program is a worker, of which `spec` has no argv.
  absl::StatusOr<WorkerProcess> StartWorker(const ProgramSpec& spec);

 private:
  absl::StatusOr<std::unique_ptr<Program>> Launch(const ProgramSpec& spec, int worker_socket);
  absl::StatusOr<std::unique_ptr<Program>> TryLaunch(const ProgramSpec& spec, int worker_socket, bool* again);
  absl::Status StartServer() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void EndServer() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const std::vector<std::string> arguments_;
  const std::string binary_;
  Mutex mu_;
  Fd socket_ ABSL_GUARDED_BY(mu_);
  pid_t server_ ABSL_GUARDED_BY(mu_) = 0;
};

}  // namespace jobpool
