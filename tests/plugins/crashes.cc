// Kinds that end their process, each in one way, or will not end, or leave something behind; and one that
// tells what it finds around it. For jobs of isolation PROCESS: on a thread of the server most of them end
// that.

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <dirent.h>
#include <fcntl.h>
#include <fstream>
#include <jobpool/plugin.h>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <string_view>
#include <sys/socket.h>
#include <sys/stat.h>
#include <thread>
#include <unistd.h>
#include <vector>

#include <climits>

namespace {

using jobpool::plugin::Code;
using jobpool::plugin::Context;
using jobpool::plugin::ProcessUse;
using jobpool::plugin::Result;

constexpr size_t kMiB = size_t{1} << 20;

[[noreturn]] void SleepForEver() {
  for (;;) std::this_thread::sleep_for(std::chrono::hours(1));
}

// Those over which the server is spoken with: a worker has no others.
std::vector<int> Sockets() {
  std::vector<int> sockets;
  for (int fd = 0; fd < 1024; ++fd) {
    struct stat status {};
    if (fstat(fd, &status) == 0 && S_ISSOCK(status.st_mode)) sockets.push_back(fd);
  }
  return sockets;
}

void WriteNowhere() {
  std::fputs("a word before\nwrites to nowhere\n", stderr);
  volatile int* volatile nowhere = nullptr;
  *nowhere = 1;
}

// What is thrown on the calling thread would be caught.
void ThrowInThread() {
  std::thread([] { throw std::runtime_error("nobody catches it"); }).join();
}

// The compiler knows neither that it never ends nor that a frame is not needed.
volatile bool go_on = true;
int Recurse(volatile char* above) {
  volatile char frame[4096];
  frame[0] = above[0];
  return go_on ? Recurse(frame) + frame[0] : 0;
}

void Touch(char* bytes, size_t size) {
  for (size_t i = 0; i < size; i += 4096) static_cast<volatile char*>(bytes)[i] = 1;
}

void TakeAllMemory() {
  std::vector<std::unique_ptr<char[]>> taken;
  for (;;) {
    taken.emplace_back(new char[8 * kMiB]);
    Touch(taken.back().get(), 8 * kMiB);
  }
}

void SendRubbish() {
  // Always the same; its first bytes are no length that a message could have.
  std::mt19937 random;
  std::vector<uint32_t> rubbish(1024);
  for (uint32_t& word : rubbish) word = static_cast<uint32_t>(random());
  for (const int fd : Sockets()) {
    (void)!send(fd, rubbish.data(), rubbish.size() * sizeof(uint32_t), MSG_NOSIGNAL | MSG_DONTWAIT);
  }
}

void WriteLargeFile() {
  const int file = open("large", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  const std::vector<char> bytes(kMiB);
  while (write(file, bytes.data(), bytes.size()) > 0) {
  }
}

// More than a pipe holds, to both streams; the last words of which only stderr's are for the error.
void MakeNoise() {
  const std::string line(99, 'n');
  for (size_t i = 0; i < kMiB / 100; ++i) {
    std::fprintf(stderr, "%s\n", line.c_str());
    std::fprintf(stdout, "%s\n", line.c_str());
  }
  std::fputs("after much noise\n", stderr);
  std::fputs("no last words\n", stdout);
  std::fflush(stdout);
}

Result Crash(std::string_view how, Context& context) {
  if (how == "segv") WriteNowhere();
  if (how == "abort") std::abort();
  if (how == "exit") std::exit(3);
  if (how == "throw") ThrowInThread();
  if (how == "stack") {
    char first = 1;
    (void)Recurse(&first);
  }
  if (how == "memory") TakeAllMemory();
  if (how == "kill") {
    context.SetProgress(0.5, "sleeps");
    SleepForEver();
  }
  if (how == "close") {
    for (const int fd : Sockets()) close(fd);
    return "nobody hears that";
  }
  if (how == "close-and-stay") {
    for (const int fd : Sockets()) shutdown(fd, SHUT_WR);  // what cannot read any more ends by itself
    SleepForEver();
  }
  if (how == "rubbish") {
    SendRubbish();
    return "nobody believes that";
  }
  if (how == "file") WriteLargeFile();
  if (how == "cpu") {
    while (go_on) {
    }
  }
  if (how == "noise") {
    MakeNoise();
    std::abort();
  }
  return Result::Failed(Code::kInvalidArgument, "there is no such crash");
}

// The payload backwards. What it writes belongs to nobody's crash.
Result Good(std::string_view payload, Context&) {
  std::fputs("all is well\n", stderr);
  return std::string(payload.rbegin(), payload.rend());
}

Result Touches(std::string_view mib, Context&) {
  const size_t size = std::stoul(std::string(mib)) * kMiB;
  const std::unique_ptr<char[]> bytes(new char[size]);
  Touch(bytes.get(), size);
  return "";
}

// Says that it does not listen, from then on.
Result Ignores(std::string_view, Context& context) {
  std::signal(SIGTERM, SIG_IGN);
  context.SetProgress(0.5, "ignores");
  SleepForEver();
}

Result Listens(std::string_view, Context& context) {
  return context.WaitCancelled(std::chrono::hours(1)) ? Result::Cancelled() : Result("");
}

// A process in a session of its own, whose parent has ended: its pid. It holds all that it has inherited.
pid_t StartGrandchild() {
  int pipe_ends[2];
  if (pipe(pipe_ends) != 0) return -1;
  if (fork() == 0) {
    setsid();
    const pid_t grandchild = fork();
    if (grandchild == 0) {
      std::signal(SIGTERM, SIG_IGN);
      std::signal(SIGHUP, SIG_IGN);
      for (;;) pause();
    }
    (void)!write(pipe_ends[1], &grandchild, sizeof(grandchild));
    _exit(0);
  }
  pid_t pid = -1;
  if (read(pipe_ends[0], &pid, sizeof(pid)) != sizeof(pid)) pid = -1;
  close(pipe_ends[0]);
  close(pipe_ends[1]);
  return pid;
}

// The grandchild's pid; with "stay" as its progress, and goes on.
Result Grandchild(std::string_view payload, Context& context) {
  const std::string pid = std::to_string(StartGrandchild());
  if (payload != "stay") return pid;
  context.SetProgress(0.5, pid);
  return Listens("", context);
}

std::vector<std::string> NamesIn(const char* folder) {
  std::vector<std::string> names;
  DIR* const directory = opendir(folder);
  if (directory == nullptr) return names;
  const std::string own = std::to_string(dirfd(directory));
  while (const dirent* const entry = readdir(directory)) {
    const std::string name = entry->d_name;
    if (name != "." && name != ".." && name != own) names.push_back(name);
  }
  closedir(directory);
  return names;
}

std::string Target(const std::string& link) {
  char target[PATH_MAX];
  const ssize_t size = readlink(link.c_str(), target, sizeof(target));
  return std::string(target, static_cast<size_t>(std::max<ssize_t>(size, 0)));
}

// A line for each thing: what it is, a tab, and how.
Result Look(std::string_view, Context&) {
  std::string seen;
  const auto tell = [&seen](std::string_view what, std::string_view how) {
    seen.append(what).append("\t").append(how).append("\n");
  };
  tell("pid", std::to_string(getpid()));
  tell("session", std::to_string(getsid(0)));
  tell("folder", Target("/proc/self/cwd"));
  for (const std::string& name : NamesIn(".")) tell("file", name);
  for (char** variable = environ; variable != nullptr && *variable != nullptr; ++variable)
    tell("variable", *variable);
  for (const std::string& fd : NamesIn("/proc/self/fd")) tell("descriptor", Target("/proc/self/fd/" + fd));
  for (const char* const file : {"status", "limits"}) {
    std::ifstream lines(std::string("/proc/self/") + file);
    for (std::string line; std::getline(lines, line);) tell(file, line);
  }
  const int file = open("new", O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
  struct stat status {};
  if (file >= 0 && fstat(file, &status) == 0) tell("mode", std::to_string(status.st_mode & 0777));
  return seen;
}

}  // namespace

JOBPOOL_PLUGIN(registrar) {
  registrar.Add("crash", Crash);
  registrar.Add("crash-reused", Crash, ProcessUse::kReused);
  registrar.Add("good", Good, ProcessUse::kReused);
  registrar.Add("good-fresh", Good);
  registrar.Add("grandchild", Grandchild);
  registrar.Add("grandchild-reused", Grandchild, ProcessUse::kReused);
  registrar.Add("ignores", Ignores);
  registrar.Add("listens", Listens);
  registrar.Add("look", Look);
  registrar.Add("touch", Touches, ProcessUse::kReused);
}
