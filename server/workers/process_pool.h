#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <string>
#include <thread>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "server/base/cancel_token.h"
#include "server/base/clock.h"
#include "server/base/event.h"
#include "server/base/mutex.h"
#include "server/base/progress.h"
#include "server/process/fork_server.h"
#include "server/process/message_socket.h"
#include "server/process/process_use.h"
#include "server/workers/thread_registry.h"

namespace jobpool {

struct ProcessPoolOptions {
  /// Processes that wait for tasks: so many are started ahead, and as many more are kept until
  /// they have idled for so long.
  int min_idle = 0;
  int max_idle = 64;
  absl::Duration idle_timeout = absl::Seconds(10);
  /// A process that has done so many tasks, or has taken so much memory, makes room for another.
  int64_t max_tasks = 10'000;
  int64_t max_resident_bytes = int64_t{1} << 30;
  Fences fences = {.memory_bytes = int64_t{4} << 30, .file_bytes = int64_t{1} << 30, .open_files = 256};
  /// Those that do the server's own kinds are denied system calls that computing does not need.
  bool confine = true;

  bool operator==(const ProcessPoolOptions&) const = default;
};

/// Child processes that do tasks, one at a time: started as they are needed and ahead, used
/// again, replaced when they die. Each is in roll call as a PROCESS_WORKER from its start to its
/// end. Thread-safe; destruction kills those that are left.
class ProcessPool {
 public:
  class Process;

  /// A process that was taken for one task. Not thread-safe, but for Signal.
  class Lease {
   public:
    ~Lease();
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;

    uint64_t thread_id() const;
    std::string display_name() const;
    pid_t process_id() const;

    /// It in roll call.
    RegistryEntry& entry();

    /// What the task says meanwhile.
    struct Context {
      CancelToken& cancel;  // once it is cancelled the process is told so
      Progress& progress;
      std::function<void(int level, absl::string_view text)> log;
    };

    /// Does the task: what has come of it as the process says it. INTERNAL: it has ended, or
    /// has sent rubbish: the message says how, with the last lines that it wrote. To be called
    /// once.
    absl::StatusOr<std::string> Run(std::string task, const Context& context);

    /// What Run gave is no answer: ends the process. Returns the error that says so.
    absl::Status Refuse();

    /// What the task has used; of a process that has ended, all that it has.
    const ResourceUsage& usage() const { return usage_; }

    /// Ends the process: SIGTERM asks its group, SIGKILL ends all that has come of it.
    void Signal(int signal);

   private:
    friend class ProcessPool;
    Lease(ProcessPool& pool, std::list<Process>::iterator process, ProcessUse use);

    ProcessPool& pool_;
    const std::list<Process>::iterator process_;
    const ProcessUse use_;
    bool reusable_ = false;
    std::atomic<bool> signalled_{false};  // who was is not given another task: more may be on their way
    ResourceUsage usage_;
  };

  /// `processes` and `registry` outlive it.
  ProcessPool(ProcessPoolOptions options, ForkServer& processes, ThreadRegistry& registry);
  ~ProcessPool();

  /// Gives an idle process that may be used so, or starts one. UNAVAILABLE, or
  /// FAILED_PRECONDITION (its user, its folder): none can be started.
  absl::StatusOr<std::unique_ptr<Lease>> Take(ProcessUse use);

  /// For the processes to come; those that idle are replaced.
  void Reconfigure(ProcessPoolOptions options);

  /// Ends the idle processes, and starts none any more. Idempotent.
  void Stop();

  /// That have ended otherwise than by our wish.
  uint64_t crashes() const { return crashes_.load(); }
  uint64_t starts() const { return starts_.load(); }

 private:
  void Keep();
  void StartAhead();
  absl::StatusOr<std::list<Process>> StartProcess();
  int64_t CountUnused() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void GiveBack(std::list<Process>::iterator process, bool reusable);
  std::list<Process> TakeEnding(bool all);

  ForkServer& fork_server_;
  ThreadRegistry& registry_;
  std::atomic<uint64_t> crashes_{0};
  std::atomic<uint64_t> starts_{0};

  Event wake_;  // its keeper, which has to look at what there is
  Fd ended_;    // epoll: readable when a process has ended
  Mutex mu_;
  CondVar registered_cv_;
  ProcessPoolOptions options_ ABSL_GUARDED_BY(mu_);
  uint64_t generation_ ABSL_GUARDED_BY(mu_) = 0;    // of the options
  std::list<Process> idle_ ABSL_GUARDED_BY(mu_);    // the one that was busy last is at the end
  std::list<Process> ending_ ABSL_GUARDED_BY(mu_);  // for its keeper to end
  MonotonicTime ahead_from_ ABSL_GUARDED_BY(mu_) = MonotonicTime::min();  // none is started ahead before that
  std::list<Process> taken_ ABSL_GUARDED_BY(mu_);
  bool registered_ ABSL_GUARDED_BY(mu_) = false;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;

  std::thread keeper_;  // last: it uses the others
};

}  // namespace jobpool
