#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <pthread.h>
#include <string>
#include <sys/types.h>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "server/base/mutex.h"

namespace jobpool {

/// What a thread is for; jobpool.v1.Thread.Role says more.
enum class ThreadRole : unsigned char { kMain, kWorker, kConnection, kService, kProcessWorker };
inline constexpr size_t kThreadRoleCount = 5;

/// As jobpool.v1.Thread.Role spells it.
absl::string_view ThreadRoleName(ThreadRole role);

enum class ThreadState : unsigned char { kIdle, kRunning, kRetiring };
inline constexpr ThreadState kThreadStates[] = {ThreadState::kIdle, ThreadState::kRunning,
                                                ThreadState::kRetiring};

/// As jobpool.v1.Thread.State spells it.
absl::string_view ThreadStateName(ThreadState state);

/// The job that a worker is on.
struct CurrentJob {
  std::string id;  // empty: none
  std::string display_name;
  bool daemon = false;
  absl::Time start_time;
  std::string pool = {};  // of the job, where the thread has none of its own
};

/// A thread as it was at one moment.
struct ThreadInfo {
  uint64_t id = 0;
  ThreadRole role = ThreadRole::kMain;
  std::string pool;  // its own, or that of its job; empty: of none
  std::string display_name;
  std::string native_name;
  ThreadState state = ThreadState::kIdle;
  CurrentJob job;
  pid_t process_id = 0;
  pid_t os_thread_id = 0;
  absl::Time start_time;
  absl::Duration cpu_time;
  uint64_t jobs_run = 0;

  /// Has something to do.
  bool running() const { return state != ThreadState::kIdle; }
};

/// All threads at one moment, oldest first.
struct RollCall {
  std::vector<ThreadInfo> threads;
  uint64_t version = 0;
};

/// How many threads at one moment.
struct ActiveCount {
  std::array<int, kThreadRoleCount> by_role{};
  uint64_t version = 0;

  int total() const;
};

class RegistryEntry;

/// Knows every thread of ours from its first to its last instruction, and the main threads
/// of child processes; the one source of roll call, active count and their metrics.
/// Thread-safe; outlives every entry. Lock order: mu_, then an entry's own.
class ThreadRegistry {
 public:
  /// Takes everything under one lock: no start or end falls between two threads.
  /// About 2 us a thread.
  RollCall Snapshot() const;

  ActiveCount Count() const;

  /// Nothing if it has ended or never was.
  std::optional<ThreadInfo> Find(uint64_t id) const;

  /// Renames a thread here and in the operating system. Returns false if it has
  /// ended. REQUIRES: `name` is 1 to 64 characters of UTF-8.
  bool Rename(uint64_t id, absl::string_view name);

  /// Shows the thread as RETIRING for the rest of its life, if it has not ended.
  void Retire(uint64_t id);

  /// Shows what `display_name` says, if the thread is on that job. It is called
  /// under the thread's lock, so that of two renames the later one stays.
  void RenameJob(uint64_t id, absl::string_view job_id, const std::function<std::string()>& display_name);

 private:
  friend class RegistryEntry;

  void Enter(RegistryEntry& entry);
  void Leave(RegistryEntry& entry);

  mutable Mutex mu_;
  std::map<uint64_t, RegistryEntry*> threads_ ABSL_GUARDED_BY(mu_);
  ActiveCount count_ ABSL_GUARDED_BY(mu_);
  uint64_t last_id_ ABSL_GUARDED_BY(mu_) = 0;
  // How many were named by default, for `Thread-N` and its like.
  std::array<uint64_t, kThreadRoleCount> named_ ABSL_GUARDED_BY(mu_){};
};

/// A thread in the registry. What is public may be called by any thread.
class RegistryEntry {
 public:
  RegistryEntry(const RegistryEntry&) = delete;
  RegistryEntry& operator=(const RegistryEntry&) = delete;

  /// RUNNING or IDLE, for a thread that serves without a job.
  void SetRunning(bool running);

  /// RUNNING, on `job`.
  void BeginJob(CurrentJob job);

  /// IDLE; `ran`: with one more job run.
  void EndJob(bool ran);

  uint64_t id() const { return id_; }
  pid_t process_id() const { return process_id_; }
  pid_t os_thread_id() const { return os_thread_id_; }
  std::string display_name() const;

 protected:
  /// `pool` may be empty.
  RegistryEntry(ThreadRegistry& registry, ThreadRole role, absl::string_view pool, pid_t process_id,
                pid_t os_thread_id);
  virtual ~RegistryEntry() = default;

  /// To be called when the entry can do all, and before it cannot any more. In between it has
  /// a display name, the role's default at first.
  void Enter();
  void Leave();

 private:
  friend class ThreadRegistry;

  /// Gives it a name in the operating system; returns what that has made of it, or for an
  /// empty one what it is. Called under locks.
  virtual std::string SetNativeName(absl::string_view name) = 0;
  /// What it has used so far.
  virtual absl::Duration CpuTime() const = 0;

  ThreadInfo Info() const;
  void SetName(absl::string_view name);

  ThreadRegistry& registry_;

  // Constant after construction; id_ once entered.
  const ThreadRole role_;
  const std::string pool_;
  const pid_t process_id_;
  const pid_t os_thread_id_;
  const absl::Time start_time_;
  uint64_t id_ = 0;

  mutable Mutex mu_;
  std::string display_name_ ABSL_GUARDED_BY(mu_);
  std::string native_name_ ABSL_GUARDED_BY(mu_);
  std::atomic<bool> running_{false};  // written under mu_
  bool retiring_ ABSL_GUARDED_BY(mu_) = false;
  CurrentJob job_ ABSL_GUARDED_BY(mu_);
  uint64_t jobs_run_ ABSL_GUARDED_BY(mu_) = 0;
};

/// Makes the calling thread one of ours for the length of a scope: the first
/// local of its body. Its setters are called by that thread only, and wake
/// nobody.
class RegisteredThread final : public RegistryEntry {
 public:
  /// `pool` may be empty. The display name is the role's default. It is
  /// the native name too, but for the main thread's, which keeps the program's,
  /// by which operators find the process.
  RegisteredThread(ThreadRegistry& registry, ThreadRole role, absl::string_view pool);
  ~RegisteredThread() override;

  /// The registration of the calling thread; null if it is none of ours.
  static RegisteredThread* Current();

 private:
  std::string SetNativeName(absl::string_view name) override;
  absl::Duration CpuTime() const override;

  const pthread_t pthread_;
  clockid_t cpu_clock_{};
};

/// The main thread of a child process, for the length of a scope.
class RegisteredProcess final : public RegistryEntry {
 public:
  /// `rename` gives the process another native name, of at most 15 bytes; it is called under
  /// locks, by any thread, and must not wait.
  RegisteredProcess(ThreadRegistry& registry, pid_t process_id,
                    std::function<void(const std::string& name)> rename);
  ~RegisteredProcess() override;

 private:
  std::string SetNativeName(absl::string_view name) override;
  absl::Duration CpuTime() const override;

  const std::function<void(const std::string& name)> rename_;
};

}  // namespace jobpool
