#include "client/cli/interrupt.h"

#include <atomic>
#include <cstdint>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include "client/cli/exit_status.h"

namespace jobpool::cli {
namespace {

// Lock-free, so that a handler may touch it ([support.signal] of C++20).
std::atomic<bool> interrupted_once{false};
static_assert(std::atomic<bool>::is_always_lock_free);

void ExitNow(int) { _exit(static_cast<int>(ExitStatus::kInterrupted)); }

// Of the first signal, by the monotonic clock.
std::atomic<int64_t> interrupted_at{0};
static_assert(std::atomic<int64_t>::is_always_lock_free);

// One that follows at once is the same wish, said twice: leaving then would leave
// the job behind before its cancellation could be asked for.
constexpr int64_t kSameWishNanoseconds = 1'000'000'000;

void NoteOrExit(int signal) {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);  // safe in a handler (signal-safety(7))
  const int64_t nanoseconds = now.tv_sec * int64_t{1'000'000'000} + now.tv_nsec;
  if (!interrupted_once.exchange(true)) {
    interrupted_at = nanoseconds;
  } else if (nanoseconds - interrupted_at > kSameWishNanoseconds) {
    ExitNow(signal);
  }
}

struct sigaction Install(int signal, void (*handler)(int)) {
  struct sigaction action {};
  action.sa_handler = handler;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  struct sigaction before {};
  sigaction(signal, &action, &before);
  return before;
}

}  // namespace

void ExitOnInterrupt() {
  Install(SIGINT, ExitNow);
  Install(SIGTERM, ExitNow);
  Install(SIGPIPE, SIG_DFL);
}

struct InterruptGuard::SavedHandlers {
  struct sigaction on_int, on_term, on_hup, on_pipe;
};

InterruptGuard::InterruptGuard() : saved_(std::make_unique<SavedHandlers>()) {
  interrupted_once = false;
  saved_->on_pipe = Install(SIGPIPE, SIG_IGN);
  saved_->on_int = Install(SIGINT, NoteOrExit);
  saved_->on_term = Install(SIGTERM, NoteOrExit);
  saved_->on_hup = Install(SIGHUP, NoteOrExit);
  if (saved_->on_hup.sa_handler == SIG_IGN) sigaction(SIGHUP, &saved_->on_hup, nullptr);  // nohup
}

InterruptGuard::~InterruptGuard() {
  sigaction(SIGPIPE, &saved_->on_pipe, nullptr);
  sigaction(SIGINT, &saved_->on_int, nullptr);
  sigaction(SIGTERM, &saved_->on_term, nullptr);
  sigaction(SIGHUP, &saved_->on_hup, nullptr);
}

bool InterruptGuard::interrupted() const { return interrupted_once; }

}  // namespace jobpool::cli
