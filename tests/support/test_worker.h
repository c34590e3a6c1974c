#pragma once

#include "server/handlers/registry.h"

namespace jobpool {

/// The handlers of tests that run jobs in threads and in processes: `noop`'s payload says what
/// is done.
///
///     pid                the answer: the process that runs it
///     tell TEXT          says TEXT of its progress, at 0.5, then goes on until it is cancelled
///     fail TEXT          fails with INVALID_ARGUMENT and TEXT
///     throw TEXT         throws std::runtime_error
///     burn               0.1 s of CPU time
///     nap                waits 1 ms
///     touch              writes to 200 pages of new memory
///     set N, get         a global, which begins at 100
///     open PATH          the answer: whether it can be read
///     deaf               answers nothing and ends when killed, whatever it is asked
///
/// and in a process alone:
///
///     odd, segv, abort, overflow, terminate, exit N, memory, close, rubbish, kill
///
/// Others: as noop.
void ReplaceTestHandlers(HandlerRegistry& handlers);

/// A worker with these handlers; with the variable TEST_WORKER=echo one that sends back each
/// message, of the type Launch, and exits with 7 when its socket is closed.
int RunTestWorker(int socket);

}  // namespace jobpool
