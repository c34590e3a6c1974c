#include "tests/support/test_worker.h"

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <memory>
#include <stdexcept>
#include <string>
#include <sys/mman.h>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "jobpool/process/v1/process.pb.h"
#include "server/handlers/typed_handler.h"
#include "server/pipeline/process_task.h"
#include "server/process/fd.h"
#include "server/process/message_socket.h"
#include "server/process/worker.h"

namespace jobpool {
namespace {

int global = 100;
int worker_socket = -1;

absl::StatusOr<Result> Answer(std::string text) {
  return NoopResult{std::make_shared<const std::string>(std::move(text))};
}

int Overflow(int depth) {
  volatile char frame[4096] = {};
  frame[0] = static_cast<char>(depth);
  return depth < 0 ? 0 : Overflow(depth + 1) + frame[0];
}

class TestHandler final : public TypedHandler<NoopWork> {
  absl::StatusOr<Result> RunTyped(const NoopWork& work, HandlerContext& context) const override {
    const std::string text = work.payload != nullptr ? *work.payload : "";
    absl::string_view rest = text;
    if (text == "pid") return Answer(absl::StrCat(getpid()));
    if (absl::ConsumePrefix(&rest, "tell")) {
      context.progress.Set(0.5, std::string(absl::StripLeadingAsciiWhitespace(rest)));
      context.cancel.SleepFor(absl::Hours(1));
      return absl::CancelledError("asked");
    }
    if (absl::ConsumePrefix(&rest, "fail"))
      return absl::InvalidArgumentError(absl::StripLeadingAsciiWhitespace(rest));
    if (absl::ConsumePrefix(&rest, "throw ")) throw std::runtime_error(std::string(rest));
    if (text == "burn") {
      const clock_t end = std::clock() + CLOCKS_PER_SEC / 10;
      while (std::clock() < end) {
      }
      return Answer("");
    }
    if (text == "odd") return SleepResult{};  // of another kind
    if (text == "nap") {
      context.cancel.SleepFor(absl::Milliseconds(1));
      return Answer("");
    }
    if (text == "touch") {
      constexpr size_t kBytes = 200 * 4096;
      void* const pages = mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      if (pages == MAP_FAILED) return absl::ResourceExhaustedError("no pages");
      madvise(pages, kBytes, MADV_NOHUGEPAGE);
      std::memset(pages, 1, kBytes);
      munmap(pages, kBytes);
      return Answer("");
    }
    if (absl::ConsumePrefix(&rest, "set ")) (void)absl::SimpleAtoi(rest, &global);
    if (absl::StartsWith(text, "set ") || text == "get") return Answer(absl::StrCat(global));
    if (text == "deaf") {
      std::signal(SIGTERM, SIG_IGN);
      context.progress.Set(0.5, "deaf");
      for (;;) pause();
    }
    if (text == "segv") raise(SIGSEGV);
    if (text == "abort") std::abort();
    if (text == "overflow") return Answer(absl::StrCat(Overflow(1)));
    if (text == "terminate") {
      std::thread([] { throw std::runtime_error("nobody catches this"); }).join();
    }
    if (absl::ConsumePrefix(&rest, "exit ")) {
      std::fprintf(stderr, "first line\nabout to exit\n");
      std::fflush(stderr);
      int status = 0;
      (void)absl::SimpleAtoi(rest, &status);
      _exit(status);
    }
    if (text == "memory") {
      std::vector<std::unique_ptr<char[]>> taken;
      for (;;) taken.push_back(std::make_unique<char[]>(size_t{64} << 20));
    }
    if (text == "close") {
      shutdown(worker_socket, SHUT_RDWR);
      for (;;) pause();
    }
    if (text == "rubbish") {
      (void)!write(worker_socket, "\xff\xff\xff\xff rubbish", 12);
      for (;;) pause();
    }
    if (text == "kill") kill(getpid(), SIGKILL);
    if (absl::ConsumePrefix(&rest, "open ")) {
      const Fd file(open(std::string(rest).c_str(), O_RDONLY | O_CLOEXEC));
      return Answer(file ? "opened" : std::strerror(errno));
    }
    return NoopResult{work.payload};
  }
};

int RunEchoWorker(int socket) {
  MessageReader reader(socket);
  process::v1::Launch message;
  for (;;) {
    const auto got = reader.Read(message);
    if (!got.ok() || *got != MessageReader::Got::kMessage) return 7;
    if (message.argv_size() > 0 && message.argv(0) == "abort") std::abort();
    if (!WriteMessage(socket, message).ok()) return 8;
  }
}

}  // namespace

void ReplaceTestHandlers(HandlerRegistry& handlers) {
  handlers.Replace(Kind::kNoop, std::make_unique<TestHandler>());
}

int RunTestWorker(int socket) {
  const char* const what = std::getenv("TEST_WORKER");
  if (what != nullptr && absl::string_view(what) == "echo") return RunEchoWorker(socket);
  worker_socket = socket;
  HandlerRegistry handlers;
  ReplaceTestHandlers(handlers);
  return RunWorker(socket, [&](absl::string_view task, WorkerContext& context) {
    return RunTask(handlers, task, context);
  });
}

}  // namespace jobpool
