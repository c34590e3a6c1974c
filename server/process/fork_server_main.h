#pragma once

#include "server/process/keeper.h"

namespace jobpool {

/// The first argument of a process that is to be a fork server.
inline constexpr char kForkServerArgument[] = "--fork_server";

/// The life of a fork server: a process of one thread, made by ForkServer from the program
/// that calls this before it has done anything else; it forks a keeper for each Launch that
/// it reads from its standard input, a socket, and ends with that. (As multiprocessing's start
/// method of that name: a process with threads must not fork without exec.) Whatever comes of
/// its keepers without them, it ends. Returns the exit status.
int RunForkServer(const WorkerMain& worker);

}  // namespace jobpool
