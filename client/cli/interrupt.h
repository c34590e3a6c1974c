#pragma once

#include <memory>

namespace jobpool::cli {

/// From here on SIGINT and SIGTERM end the program at once, with exit status
/// 130; SIGPIPE ends it quietly, even where it was ignored. Call it first of all,
/// once.
void ExitOnInterrupt();

/// While it lives, SIGINT, SIGTERM and SIGHUP (unless it was ignored) are noted
/// instead; one that comes more than a second later ends the program at once with
/// exit status 130. A broken
/// pipe is an error of the write then, and no end of the program. At most one
/// at a time; not thread-safe, but signals may come to any thread.
class InterruptGuard {
 public:
  InterruptGuard();
  /// As it was before; what was noted and not looked at is lost.
  ~InterruptGuard();
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;

  bool interrupted() const;

 private:
  struct SavedHandlers;
  const std::unique_ptr<SavedHandlers> saved_;
};

}  // namespace jobpool::cli
