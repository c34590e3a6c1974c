#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <sys/types.h>
#include <vector>

#include "absl/status/statusor.h"
#include "server/base/resource_usage.h"

namespace jobpool {

/// What a program may use; 0: no limit of ours. Applied before it begins, also to what it
/// starts.
struct Fences {
  int64_t memory_bytes = 0;            // of its address space (RLIMIT_AS)
  int64_t cpu_seconds = 0;             // RLIMIT_CPU: SIGXCPU, a second later SIGKILL
  int64_t file_bytes = 0;              // of each file that it writes (RLIMIT_FSIZE): SIGXFSZ
  int64_t open_files = 0;              // RLIMIT_NOFILE
  int64_t processes = 0;               // of its user together (RLIMIT_NPROC); not for root
  std::string working_directory = {};  // empty: a new empty folder of its own, removed at its end
  std::string user = {};               // empty: the server's

  bool operator==(const Fences&) const = default;
};

struct ProgramSpec {
  std::vector<std::string> argv;         // argv[0] is an absolute path
  std::vector<std::string> environment;  // NAME=value; all that it gets
  Fences fences;
};

struct ProgramEnd {
  int exit_status = 0;  // of one that exited
  int signal = 0;       // that ended it; 0: it exited
  ResourceUsage usage;  // with that of those of its children that it waited for
  std::string failure;  // not empty: how it ended is not known, and why
};

/// A program that was started, with all that comes of it: destruction ends that with
/// SIGKILL, and does not wait. Thread-safe, but for what is done with its descriptors,
/// which are non-blocking and its own.
class Program {
 public:
  virtual ~Program() = default;

  /// Also the id of its process group and session.
  virtual pid_t pid() const = 0;

  /// -1 once closed.
  virtual int stdin_fd() const = 0;
  virtual int stdout_fd() const = 0;
  virtual int stderr_fd() const = 0;
  virtual void CloseStdin() = 0;

  /// Readable once it has ended; to be polled only.
  virtual int exit_fd() const = 0;

  /// How it has ended, without waiting. When it says so nothing is left of it.
  virtual std::optional<ProgramEnd> End() = 0;

  /// To its process group; SIGKILL: to everything that has come of it, also in other
  /// sessions. Nothing happens once it has ended.
  virtual void Signal(int signal) = 0;
};

/// Starts programs. Thread-safe; outlives them.
class ProgramStarter {
 public:
  virtual ~ProgramStarter() = default;

  /// Returns when it runs. FAILED_PRECONDITION: it cannot be run (no such file, no such
  /// folder, no such user, not permitted); UNAVAILABLE: not now.
  virtual absl::StatusOr<std::unique_ptr<Program>> Start(const ProgramSpec& spec) = 0;
};

}  // namespace jobpool
