#include "server/workers/thread_registry.h"

#include <numeric>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "server/job/validation.h"

namespace jobpool {
namespace {

// What the kernel keeps of a thread's name, less its final NUL (prctl(2)).
constexpr size_t kNativeNameBytes = 15;

thread_local RegisteredThread* current_thread = nullptr;

std::string NativeName(pthread_t thread) {
  char name[kNativeNameBytes + 1] = "";
  pthread_getname_np(thread, name, sizeof(name));
  return name;
}

absl::string_view DefaultNamePrefix(ThreadRole role) {
  switch (role) {
    case ThreadRole::kMain:
      return "MainThread";
    case ThreadRole::kWorker:
      return "Thread-";
    case ThreadRole::kConnection:
      return "Connection-";
    case ThreadRole::kService:
      return "Service-";
    case ThreadRole::kProcessWorker:
      return "Process-";
  }
  return "";
}

}  // namespace

absl::string_view ThreadStateName(ThreadState state) {
  switch (state) {
    case ThreadState::kIdle:
      return "IDLE";
    case ThreadState::kRunning:
      return "RUNNING";
    case ThreadState::kRetiring:
      return "RETIRING";
  }
  return "";
}

absl::string_view ThreadRoleName(ThreadRole role) {
  switch (role) {
    case ThreadRole::kMain:
      return "MAIN";
    case ThreadRole::kWorker:
      return "WORKER";
    case ThreadRole::kConnection:
      return "CONNECTION";
    case ThreadRole::kService:
      return "SERVICE";
    case ThreadRole::kProcessWorker:
      return "PROCESS_WORKER";
  }
  return "";
}

int ActiveCount::total() const { return std::accumulate(by_role.begin(), by_role.end(), 0); }

RollCall ThreadRegistry::Snapshot() const {
  RollCall roll_call;
  MutexLock lock(mu_);
  roll_call.version = count_.version;
  roll_call.threads.reserve(threads_.size());
  for (const auto& [id, thread] : threads_) roll_call.threads.push_back(thread->Info());
  return roll_call;
}

ActiveCount ThreadRegistry::Count() const {
  MutexLock lock(mu_);
  return count_;
}

std::optional<ThreadInfo> ThreadRegistry::Find(uint64_t id) const {
  MutexLock lock(mu_);
  const auto found = threads_.find(id);
  if (found == threads_.end()) return std::nullopt;
  return found->second->Info();
}

bool ThreadRegistry::Rename(uint64_t id, absl::string_view name) {
  MutexLock lock(mu_);
  const auto found = threads_.find(id);
  if (found == threads_.end()) return false;
  found->second->SetName(name);
  return true;
}

void ThreadRegistry::Retire(uint64_t id) {
  MutexLock lock(mu_);
  const auto found = threads_.find(id);
  if (found == threads_.end()) return;
  MutexLock thread_lock(found->second->mu_);
  found->second->retiring_ = true;
}

void ThreadRegistry::RenameJob(uint64_t id, absl::string_view job_id,
                               const std::function<std::string()>& display_name) {
  MutexLock lock(mu_);
  const auto found = threads_.find(id);
  if (found == threads_.end()) return;
  RegistryEntry& thread = *found->second;
  MutexLock thread_lock(thread.mu_);
  if (thread.job_.id == job_id) thread.job_.display_name = display_name();
}

void ThreadRegistry::Enter(RegistryEntry& entry) {
  MutexLock lock(mu_);
  entry.id_ = ++last_id_;
  const auto role = static_cast<size_t>(entry.role_);
  const std::string prefix(DefaultNamePrefix(entry.role_));
  if (entry.role_ == ThreadRole::kMain) {
    MutexLock entry_lock(entry.mu_);
    entry.display_name_ = prefix;
    entry.native_name_ = entry.SetNativeName("");
    entry.running_ = true;
  } else {
    entry.SetName(absl::StrCat(prefix, ++named_[role]));
  }
  threads_.emplace(entry.id_, &entry);
  ++count_.by_role[role];
  ++count_.version;
}

void ThreadRegistry::Leave(RegistryEntry& entry) {
  MutexLock lock(mu_);
  threads_.erase(entry.id_);
  --count_.by_role[static_cast<size_t>(entry.role_)];
  ++count_.version;
}

RegistryEntry::RegistryEntry(ThreadRegistry& registry, ThreadRole role, absl::string_view pool,
                             pid_t process_id, pid_t os_thread_id)
    : registry_(registry),
      role_(role),
      pool_(pool),
      process_id_(process_id),
      os_thread_id_(os_thread_id),
      start_time_(absl::Now()) {}

void RegistryEntry::Enter() { registry_.Enter(*this); }

void RegistryEntry::Leave() { registry_.Leave(*this); }

void RegistryEntry::SetRunning(bool running) {
  if (running_.load(std::memory_order_relaxed) == running) return;  // between two tasks: no lock
  MutexLock lock(mu_);
  running_ = running;
}

void RegistryEntry::BeginJob(CurrentJob job) {
  MutexLock lock(mu_);
  running_ = true;
  job_ = std::move(job);
}

void RegistryEntry::EndJob(bool ran) {
  MutexLock lock(mu_);
  running_ = false;
  job_ = CurrentJob();
  jobs_run_ += ran;
}

std::string RegistryEntry::display_name() const {
  MutexLock lock(mu_);
  return display_name_;
}

ThreadInfo RegistryEntry::Info() const {
  ThreadInfo info;
  info.id = id_;
  info.role = role_;
  info.pool = pool_;
  info.process_id = process_id_;
  info.os_thread_id = os_thread_id_;
  info.start_time = start_time_;
  // The registry's lock is held: it has not left.
  info.cpu_time = CpuTime();
  MutexLock lock(mu_);
  info.display_name = display_name_;
  info.native_name = native_name_;
  info.state = retiring_ ? ThreadState::kRetiring : running_ ? ThreadState::kRunning : ThreadState::kIdle;
  info.job = job_;
  if (info.pool.empty()) info.pool = job_.pool;
  info.jobs_run = jobs_run_;
  return info;
}

void RegistryEntry::SetName(absl::string_view name) {
  MutexLock lock(mu_);
  display_name_ = std::string(name);
  native_name_ = SetNativeName(name);
}

RegisteredThread::RegisteredThread(ThreadRegistry& registry, ThreadRole role, absl::string_view pool)
    : RegistryEntry(registry, role, pool, getpid(), gettid()), pthread_(pthread_self()) {
  pthread_getcpuclockid(pthread_, &cpu_clock_);
  Enter();
  current_thread = this;
}

RegisteredThread::~RegisteredThread() {
  current_thread = nullptr;
  Leave();
}

RegisteredThread* RegisteredThread::Current() { return current_thread; }

std::string RegisteredThread::SetNativeName(absl::string_view name) {
  if (!name.empty()) {
    pthread_setname_np(pthread_, std::string(CutAtCharacter(name, kNativeNameBytes)).c_str());
  }
  return NativeName(pthread_);
}

absl::Duration RegisteredThread::CpuTime() const {
  timespec cpu{};
  return clock_gettime(cpu_clock_, &cpu) == 0 ? absl::DurationFromTimespec(cpu) : absl::ZeroDuration();
}

RegisteredProcess::RegisteredProcess(ThreadRegistry& registry, pid_t process_id,
                                     std::function<void(const std::string& name)> rename)
    : RegistryEntry(registry, ThreadRole::kProcessWorker, "", process_id, process_id),
      rename_(std::move(rename)) {
  Enter();
}

RegisteredProcess::~RegisteredProcess() { Leave(); }

std::string RegisteredProcess::SetNativeName(absl::string_view name) {
  std::string native(CutAtCharacter(name, kNativeNameBytes));
  rename_(native);
  return native;
}

absl::Duration RegisteredProcess::CpuTime() const {
  clockid_t clock{};
  timespec cpu{};
  return clock_getcpuclockid(process_id(), &clock) == 0 && clock_gettime(clock, &cpu) == 0
             ? absl::DurationFromTimespec(cpu)
             : absl::ZeroDuration();
}

}  // namespace jobpool
