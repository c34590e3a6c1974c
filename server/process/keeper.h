#pragma once

#include <functional>
#include <string>
#include <vector>

#include "jobpool/process/v1/process.pb.h"

namespace jobpool {

/// What a worker of the server's own does with its socket; returns its exit status.
using WorkerMain = std::function<int(int socket)>;

/// Descriptors of what a keeper starts.
struct KeeperFds {
  int control;  // to the server
  int standard_input;
  int standard_output;
  int standard_error;
  int worker;  // a worker's socket; -1: it is a program
};

/// The life of a keeper, a process of one thread that starts a program, or a worker of the
/// server's own, and keeps all that comes of it: it reports its end, and when that has come,
/// or the server is gone, or asks for SIGKILL, ends what is left, in whatever session. As the
/// reaper of all its descendants (prctl(2), PR_SET_CHILD_SUBREAPER) it knows them. Returns the
/// exit status.
int KeepProgram(const process::v1::Launch& launch, const KeeperFds& fds, const WorkerMain& worker);

}  // namespace jobpool
