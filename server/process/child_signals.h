#pragma once

#include <csignal>
#include <sys/signalfd.h>

#include "server/process/fd.h"

namespace jobpool {

/// Blocks all signals, and returns a descriptor that says when a child has ended, without waiting. For a
/// process of one thread.
inline Fd WatchChildrenOnly() {
  sigset_t signals;
  sigfillset(&signals);
  sigprocmask(SIG_BLOCK, &signals, nullptr);
  sigemptyset(&signals);
  sigaddset(&signals, SIGCHLD);
  return Fd(signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK));
}

}  // namespace jobpool
