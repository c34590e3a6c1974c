#pragma once

#include <string>

namespace jobpool {

/// From now on the process is killed (SIGSYS) at a system call that is not needed to compute, wait, and speak
/// on descriptors that are open: it can open no socket, start no program, and signal nobody else; to open a
/// file is refused (EACCES). By seccomp(2), for all of its threads. Idempotent; on the main thread. Returns
/// why it could not be done, or nothing. Nothing is done in builds with a sanitizer, which calls more.
std::string Confine();

}  // namespace jobpool
