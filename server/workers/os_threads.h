#pragma once

#include <string>
#include <sys/types.h>
#include <vector>

#include "absl/time/time.h"
#include "server/workers/thread_registry.h"

namespace jobpool {

/// A thread of the process as the operating system lists it.
struct OsThreadInfo {
  pid_t os_thread_id = 0;
  std::string native_name;
  absl::Duration cpu_time;
};

/// The threads of this process that are not in `registry`: the libraries'. Read
/// from /proc: a thread that starts or ends meanwhile may be missed.
std::vector<OsThreadInfo> ForeignThreads(const ThreadRegistry& registry);

}  // namespace jobpool
