#include "server/workers/process_pool.h"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <poll.h>
#include <sys/epoll.h>
#include <unistd.h>
#include <utility>

#include "absl/memory/memory.h"
#include "absl/strings/str_cat.h"
#include "jobpool/process/v1/process.pb.h"
#include "server/base/holds_soon.h"
#include "server/base/status_macros.h"
#include "server/job/errors.h"
#include "server/job/validation.h"
#include "server/process/program_failure.h"
#include "server/process/usage_codec.h"

namespace jobpool {
namespace {

using process::v1::WorkerControl;
using process::v1::WorkerReply;
using process::v1::WorkerRequest;

// Of what a process has written when it dies.
constexpr size_t kLastBytes = 2048;
// A result is below 3 MiB.
constexpr size_t kMaxReplyBytes = size_t{4} << 20;
// Of what it says, before it is looked whether it shall end.
constexpr int kRepliesAtOnce = 64;
constexpr size_t kMaxProgressBytes = 1024;
constexpr size_t kMaxLineBytes = 1024;
// How often idle processes are looked at beside when one ends.
constexpr int kTickMs = 1000;
// After one that was started ahead has ended before its first task.
constexpr absl::Duration kStartInterval = absl::Seconds(1);
constexpr absl::string_view kNoAnswer = "it has sent what is no answer";
// A process that has closed its socket, or was killed, ends within milliseconds.
constexpr int kEndTimeoutMs = 1000;

// How often it is looked whether an answer, or a wish to cancel, has come before that is slept for.
constexpr int kLooks = 16;

// How often a pipe is read before something else is looked at; and where nobody writes any more.
constexpr int kParts = 16;
constexpr int kAllParts = 4096;

// Reads what there is, in so many parts, and appends it to `last`, if there is one, of which the end is kept.
// False: there will be no more.
bool Drain(int fd, std::string* last, int most_parts = kParts) {
  char part[4096];
  for (int parts = 0; parts < most_parts; ++parts) {
    const ssize_t size = read(fd, part, sizeof(part));
    if (size < 0) return errno == EAGAIN || errno == EINTR;
    if (size == 0) return false;
    if (last == nullptr) continue;
    last->append(part, static_cast<size_t>(size));
    if (last->size() > kLastBytes) last->erase(0, last->size() - kLastBytes);
  }
  return true;
}

}  // namespace

class ProcessPool::Process {
 public:
  Process(WorkerProcess worker, Fd control, const ProcessPoolOptions& options, uint64_t generation,
          ThreadRegistry& registry)
      : fences_(options.fences),
        confine_(options.confine),
        generation_(generation),
        program_(std::move(worker.program)),
        socket_(std::move(worker.socket)),
        control_(std::move(control)),
        reader_(socket_.get(), kMaxReplyBytes),
        entry_(registry, program_->pid(), [fd = control_.get()](const std::string& name) {
          WorkerControl renamed;
          renamed.set_name(name);
          (void)TryWriteMessage(fd, renamed);
        }) {
    SetNonBlocking(socket_.get());
  }

  RegisteredProcess& entry() { return entry_; }
  Program& program() { return *program_; }
  int64_t tasks() const { return tasks_; }
  uint64_t generation() const { return generation_; }
  bool Suits(ProcessUse use) const { return tasks_ == 0 || (use_ == use && use != ProcessUse::kFresh); }
  MonotonicTime idle_since() const { return idle_since_; }
  void SetIdle(MonotonicTime since) { idle_since_ = since; }
  bool HasEnded() { return program_->End().has_value(); }
  // Whether it waits for a task. False: it has ended or is about to, or says something though nobody asks.
  // What it wrote before is none of the next task's.
  bool IsReady() {
    pollfd fds[] = {{socket_.get(), POLLIN, 0},
                    {program_->exit_fd(), POLLIN, 0},
                    {program_->stdout_fd(), POLLIN, 0},
                    {program_->stderr_fd(), POLLIN, 0}};
    const int readable = poll(fds, 4, 0);
    if (readable < 0 || fds[0].revents != 0 || fds[1].revents != 0 || !reader_.empty()) return false;
    if (readable > 0) {
      Drain(program_->stdout_fd(), nullptr);
      Drain(program_->stderr_fd(), nullptr);
    }
    last_words_.clear();
    return true;
  }
  int64_t max_resident_bytes() const { return used_.peak_memory_bytes; }

  absl::StatusOr<std::string> Run(std::string task, ProcessUse use, const Lease::Context& context,
                                  ResourceUsage* usage) {
    if (cancelled_ == nullptr) cancelled_ = std::make_unique<Event>();
    if (cancelled_->descriptor() < 0) {
      cancelled_.reset();
      return absl::UnavailableError("no descriptor is to be had");
    }
    ++tasks_;
    use_ = use;
    WorkerRequest request;
    request.set_number(static_cast<uint64_t>(tasks_));
    request.set_task(std::move(task));
    request.set_confine(confine_ && use == ProcessUse::kBuiltIn);
    if (!WriteMessage(socket_.get(), request).ok()) return TellDeath("", usage);
    context.cancel.set_event(cancelled_.get());
    absl::StatusOr<std::string> result = Await(context, usage);
    context.cancel.set_event(nullptr);
    if (context.cancel.cancelled()) cancelled_.reset();  // it was raised
    return result;
  }

  absl::Status Refuse(ResourceUsage* usage) {
    ResourceUsage rest;
    const absl::Status died = TellDeath(kNoAnswer, &rest);
    *usage += rest;
    return died;
  }

  // Kills it, and returns when nothing is left of it. Where even its keeper does not answer, which somebody
  // may have stopped, that ends it when it goes on.
  void End() {
    Kill();
    AwaitEnd(kEndTimeoutMs);
  }
  void Kill() { program_->Signal(SIGKILL); }

 private:
  absl::StatusOr<std::string> Await(const Lease::Context& context, ResourceUsage* usage) {
    enum { kSocket, kExit, kCancelled, kOut, kError, kCount };
    pollfd fds[kCount] = {};
    const int descriptors[kCount] = {socket_.get(), program_->exit_fd(), cancelled_->descriptor(),
                                     program_->stdout_fd(), program_->stderr_fd()};
    for (int i = 0; i < kCount; ++i) fds[i] = {descriptors[i], POLLIN, 0};
    bool more = false;  // may be in the reader, where poll does not see it
    HoldsSoon(kLooks, [&] { return poll(fds, kCount, 0) != 0; });
    for (;;) {
      if (poll(fds, kCount, more ? 0 : -1) < 0) {
        if (errno == EINTR) continue;
        return absl::UnavailableError(absl::StrCat("poll: ", std::strerror(errno)));
      }
      if (fds[kOut].revents != 0 && !Drain(fds[kOut].fd, nullptr)) fds[kOut].fd = -1;
      if (fds[kError].revents != 0 && !Drain(fds[kError].fd, &last_words_)) fds[kError].fd = -1;
      if (fds[kCancelled].revents != 0) {
        WorkerControl control;
        control.set_cancel(static_cast<uint64_t>(tasks_));
        (void)TryWriteMessage(control_.get(), control);  // one that does not even read is ended by signals
        fds[kCancelled].fd = -1;
      }
      if (!more && fds[kSocket].revents == 0 && fds[kExit].revents == 0) continue;
      more = true;
      for (int replies = 0; replies < kRepliesAtOnce; ++replies) {
        WorkerReply reply;
        const auto got = reader_.Read(reply);
        if (got.ok() && *got == MessageReader::Got::kNothing) {
          if (fds[kExit].revents != 0) return TellDeath("", usage);
          more = false;
          break;
        }
        if (got.ok() && *got == MessageReader::Got::kEnd) return TellDeath("it has closed its socket", usage);
        const bool is_reply =
            got.ok() && (reply.has_progress() || reply.has_line() ||
                         (reply.has_done() && reply.done().number() == static_cast<uint64_t>(tasks_)));
        if (!is_reply) return TellDeath(kNoAnswer, usage);
        if (reply.has_done()) {
          *usage = DecodeUsage(reply.done().usage());
          used_ += *usage;
          return std::move(*reply.mutable_done()->mutable_result());
        }
        if (reply.has_progress()) {
          context.progress.Set(reply.progress().ratio(),
                               PrintableText(reply.progress().message(), kMaxProgressBytes));
        } else {
          context.log(reply.line().level(), PrintableText(reply.line().text(), kMaxLineBytes));
        }
      }
    }
  }

  // False: it has not ended in time.
  bool AwaitEnd(int timeout_ms) {
    pollfd ended = {program_->exit_fd(), POLLIN, 0};
    while (!HasEnded()) {
      const int ready = poll(&ended, 1, timeout_ms);
      if (ready == 0) return false;
    }
    Drain(program_->stderr_fd(), &last_words_, kAllParts);
    return true;
  }

  // Why there is no answer. `what`: what it has done, if that is not to end.
  absl::Status TellDeath(absl::string_view what, ResourceUsage* usage) {
    // One that is about to end closes its socket first.
    const bool by_itself = AwaitEnd(what == kNoAnswer ? 0 : kEndTimeoutMs);
    if (!by_itself) End();
    const ProgramEnd end = program_->End().value_or(ProgramEnd{0, SIGKILL, {}, "its keeper does not answer"});
    *usage = end.usage.Since(used_);  // less what was told of the tasks before
    const ProgramFailure failure = FailureOf(end, fences_, last_words_);
    return ProcessDiedError(by_itself ? failure.text : std::string(what), end.exit_status, end.signal);
  }

  const Fences fences_;
  const bool confine_;
  const uint64_t generation_;
  const std::unique_ptr<Program> program_;
  const Fd socket_;
  const Fd control_;
  MessageReader reader_;
  std::string last_words_;
  std::unique_ptr<Event> cancelled_;  // null: the next task makes one
  int64_t tasks_ = 0;
  ProcessUse use_ = ProcessUse::kBuiltIn;  // of the tasks so far
  ResourceUsage used_;                     // by them, as was told
  MonotonicTime idle_since_;
  RegisteredProcess entry_;  // last: it uses the others
};

ProcessPool::Lease::Lease(ProcessPool& pool, std::list<Process>::iterator process, ProcessUse use)
    : pool_(pool), process_(process), use_(use) {}

ProcessPool::Lease::~Lease() { pool_.GiveBack(process_, reusable_ && !signalled_); }

uint64_t ProcessPool::Lease::thread_id() const { return process_->entry().id(); }
std::string ProcessPool::Lease::display_name() const { return process_->entry().display_name(); }
pid_t ProcessPool::Lease::process_id() const { return process_->entry().process_id(); }
RegistryEntry& ProcessPool::Lease::entry() { return process_->entry(); }
void ProcessPool::Lease::Signal(int signal) {
  signalled_ = true;
  process_->program().Signal(signal);
}

absl::Status ProcessPool::Lease::Refuse() {
  reusable_ = false;
  pool_.crashes_.fetch_add(1);
  return process_->Refuse(&usage_);
}

absl::StatusOr<std::string> ProcessPool::Lease::Run(std::string task, const Context& context) {
  absl::StatusOr<std::string> result = process_->Run(std::move(task), use_, context, &usage_);
  reusable_ = result.ok() && use_ != ProcessUse::kFresh;
  if (!result.ok() && !signalled_) pool_.crashes_.fetch_add(1);
  process_->entry().EndJob(/*ran=*/true);
  return result;
}

ProcessPool::ProcessPool(ProcessPoolOptions options, ForkServer& processes, ThreadRegistry& registry)
    : fork_server_(processes),
      registry_(registry),
      ended_(epoll_create1(EPOLL_CLOEXEC)),
      options_(std::move(options)),
      keeper_([this] { Keep(); }) {
  epoll_event wake = {EPOLLIN | EPOLLET, {.fd = -1}};
  epoll_ctl(ended_.get(), EPOLL_CTL_ADD, wake_.descriptor(), &wake);
  MutexLock lock(mu_);
  while (!registered_) registered_cv_.Wait(mu_);
}

ProcessPool::~ProcessPool() { Stop(); }

void ProcessPool::Stop() {
  {
    MutexLock lock(mu_);
    stopping_ = true;
  }
  wake_.Raise();
  if (keeper_.joinable()) keeper_.join();
}

void ProcessPool::Reconfigure(ProcessPoolOptions options) {
  {
    MutexLock lock(mu_);
    if (options == options_) return;
    options_ = std::move(options);
    ++generation_;
    ending_.splice(ending_.end(), idle_);
  }
  wake_.Raise();
}

absl::StatusOr<std::list<ProcessPool::Process>> ProcessPool::StartProcess() {
  ProcessPoolOptions options;
  uint64_t generation = 0;
  {
    MutexLock lock(mu_);
    options = options_;
    generation = generation_;
  }
  ProgramSpec spec;
  spec.environment = {"LANG=C.UTF-8"};
  spec.fences = options.fences;
  JOBPOOL_ASSIGN_OR_RETURN(WorkerProcess worker, fork_server_.StartWorker(spec));
  JOBPOOL_ASSIGN_OR_RETURN(auto control, MakeSocketPair());
  const int theirs[] = {control.second.get()};
  JOBPOOL_RETURN_IF_ERROR(WriteMessage(worker.socket.get(), WorkerRequest(), theirs));
  worker.program->CloseStdin();
  starts_.fetch_add(1);
  std::list<Process> process;
  process.emplace_back(std::move(worker), std::move(control.first), options, generation, registry_);
  // It wakes the keeper once, whoever has the process then.
  epoll_event ended = {EPOLLIN | EPOLLONESHOT, {.fd = process.front().program().exit_fd()}};
  epoll_ctl(ended_.get(), EPOLL_CTL_ADD, process.front().program().exit_fd(), &ended);
  return process;
}

absl::StatusOr<std::unique_ptr<ProcessPool::Lease>> ProcessPool::Take(ProcessUse use) {
  std::list<Process> dead;  // ends after the lock
  std::unique_ptr<Lease> lease;
  bool too_few = true;  // that have done nothing
  {
    MutexLock lock(mu_);
    if (stopping_) return absl::UnavailableError("the server ends");
    for (auto next = idle_.end(); lease == nullptr && next != idle_.begin();) {
      --next;
      if (!next->Suits(use)) continue;
      const auto process = next++;
      if (!process->IsReady()) {
        dead.splice(dead.end(), idle_, process);
        continue;
      }
      taken_.splice(taken_.end(), idle_, process);
      lease = absl::WrapUnique(new Lease(*this, process, use));
      too_few = process->tasks() == 0;
    }
    too_few = too_few && options_.min_idle > 0;
  }
  if (too_few) wake_.Raise();
  for (Process& process : dead) process.End();
  if (lease != nullptr) return lease;
  JOBPOOL_ASSIGN_OR_RETURN(std::list<Process> started, StartProcess());
  MutexLock lock(mu_);
  const auto process = started.begin();
  taken_.splice(taken_.end(), started);
  return absl::WrapUnique(new Lease(*this, process, use));
}

void ProcessPool::GiveBack(std::list<Process>::iterator process, bool reusable) {
  std::list<Process> ended;
  {
    MutexLock lock(mu_);
    const bool full = process->tasks() >= options_.max_tasks ||
                      process->max_resident_bytes() >= options_.max_resident_bytes;
    if (reusable && !full && !stopping_ && process->generation() == generation_ &&
        idle_.size() < static_cast<size_t>(options_.max_idle)) {
      process->SetIdle(Clock::Real().Monotonic());
      idle_.splice(idle_.end(), taken_, process);
    } else {
      ended.splice(ended.end(), taken_, process);
    }
  }
  for (Process& one : ended) one.End();
}

// Of those that idle.
int64_t ProcessPool::CountUnused() const {
  return std::count_if(idle_.begin(), idle_.end(), [](const Process& one) { return one.tasks() == 0; });
}

// Those that have ended, or have idled for too long, or are of no use any more.
std::list<ProcessPool::Process> ProcessPool::TakeEnding(bool all) {
  std::list<Process> taken;
  MutexLock lock(mu_);
  taken.swap(ending_);
  const MonotonicTime now = Clock::Real().Monotonic();
  const MonotonicTime long_idle = Later(now, -options_.idle_timeout);
  int64_t unused = CountUnused();
  for (auto next = idle_.begin(); next != idle_.end();) {
    const auto process = next++;
    const bool used = process->tasks() > 0;
    if (process->HasEnded()) {
      if (!all) crashes_.fetch_add(1);
      // Where one cannot even begin, the next one will not either.
      if (!used) ahead_from_ = Later(now, kStartInterval);
    } else if (!all && !((used || unused > options_.min_idle) && process->idle_since() <= long_idle)) {
      continue;
    }
    if (!used) --unused;
    taken.splice(taken.end(), idle_, process);
  }
  return taken;
}

void ProcessPool::Keep() {
  RegisteredThread thread(registry_, ThreadRole::kService, "");
  {
    MutexLock lock(mu_);
    registered_ = true;
    registered_cv_.NotifyAll();
  }
  for (;;) {
    bool stopping = false;
    {
      MutexLock lock(mu_);
      stopping = stopping_;
    }
    thread.SetRunning(true);
    std::list<Process> ending = TakeEnding(stopping);
    for (Process& process : ending) process.Kill();  // all at once
    for (Process& process : ending) process.End();
    ending.clear();
    if (stopping) return;
    StartAhead();
    thread.SetRunning(false);
    epoll_event ready;
    epoll_wait(ended_.get(), &ready, 1, kTickMs);
  }
}

void ProcessPool::StartAhead() {
  for (;;) {
    {
      MutexLock lock(mu_);
      if (stopping_ || CountUnused() >= options_.min_idle || Clock::Real().Monotonic() < ahead_from_) return;
    }
    absl::StatusOr<std::list<Process>> started = StartProcess();
    if (!started.ok()) return;  // it is tried again in a second, and by who needs one
    started->front().SetIdle(Clock::Real().Monotonic());
    MutexLock lock(mu_);
    if (started->front().generation() == generation_) idle_.splice(idle_.begin(), *started);
  }
}

}  // namespace jobpool
