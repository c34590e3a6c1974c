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
  RegisteredThread& thread = *found->second;
  MutexLock thread_lock(thread.mu_);
  if (thread.job_.id == job_id) thread.job_.display_name = display_name();
}

void ThreadRegistry::Enter(RegisteredThread& thread) {
  MutexLock lock(mu_);
  thread.id_ = ++last_id_;
  const auto role = static_cast<size_t>(thread.role_);
  const std::string prefix(DefaultNamePrefix(thread.role_));
  if (thread.role_ == ThreadRole::kMain) {
    MutexLock thread_lock(thread.mu_);
    thread.display_name_ = prefix;
    thread.native_name_ = NativeName(thread.pthread_);
    thread.running_ = true;
  } else {
    thread.SetName(absl::StrCat(prefix, ++named_[role]));
  }
  threads_.emplace(thread.id_, &thread);
  ++count_.by_role[role];
  ++count_.version;
}

void ThreadRegistry::Leave(RegisteredThread& thread) {
  MutexLock lock(mu_);
  threads_.erase(thread.id_);
  --count_.by_role[static_cast<size_t>(thread.role_)];
  ++count_.version;
}

RegisteredThread::RegisteredThread(ThreadRegistry& registry, ThreadRole role, absl::string_view pool)
    : registry_(registry),
      role_(role),
      pool_(pool),
      pthread_(pthread_self()),
      os_thread_id_(gettid()),
      start_time_(absl::Now()) {
  pthread_getcpuclockid(pthread_, &cpu_clock_);
  registry_.Enter(*this);
  current_thread = this;
}

RegisteredThread::~RegisteredThread() {
  current_thread = nullptr;
  registry_.Leave(*this);
}

RegisteredThread* RegisteredThread::Current() { return current_thread; }

void RegisteredThread::SetRunning(bool running) {
  MutexLock lock(mu_);
  running_ = running;
}

void RegisteredThread::BeginJob(CurrentJob job) {
  MutexLock lock(mu_);
  running_ = true;
  job_ = std::move(job);
}

void RegisteredThread::EndJob(bool ran) {
  MutexLock lock(mu_);
  running_ = false;
  job_ = CurrentJob();
  jobs_run_ += ran;
}

std::string RegisteredThread::display_name() const {
  MutexLock lock(mu_);
  return display_name_;
}

ThreadInfo RegisteredThread::Info() const {
  ThreadInfo info;
  info.id = id_;
  info.role = role_;
  info.pool = pool_;
  info.process_id = getpid();
  info.os_thread_id = os_thread_id_;
  info.start_time = start_time_;
  // The registry's lock is held: the thread has not ended, its clock is valid.
  timespec cpu{};
  if (clock_gettime(cpu_clock_, &cpu) == 0) info.cpu_time = absl::DurationFromTimespec(cpu);
  MutexLock lock(mu_);
  info.display_name = display_name_;
  info.native_name = native_name_;
  info.state = retiring_ ? ThreadState::kRetiring : running_ ? ThreadState::kRunning : ThreadState::kIdle;
  info.job = job_;
  info.jobs_run = jobs_run_;
  return info;
}

void RegisteredThread::SetName(absl::string_view name) {
  MutexLock lock(mu_);
  display_name_ = std::string(name);
  pthread_setname_np(pthread_, std::string(CutAtCharacter(name, kNativeNameBytes)).c_str());
  native_name_ = NativeName(pthread_);
}

ThreadUsage ThreadUsage::Now() {
  rusage usage{};
  getrusage(RUSAGE_THREAD, &usage);
  return {absl::DurationFromTimeval(usage.ru_utime), absl::DurationFromTimeval(usage.ru_stime)};
}

}  // namespace jobpool
