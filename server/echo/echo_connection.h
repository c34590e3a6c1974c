#pragma once

#include "server/workers/thread_registry.h"

namespace jobpool {

/// What a connection holds of its client's bytes at a time. What the client sends
/// beyond that while it does not read waits in the kernel's buffers.
inline constexpr size_t kEchoBufferBytes = 16 << 10;

/// Answers each chunk received on `socket`, a stream, at once by the same bytes
/// with ASCII letters in upper case. Returns once the client has ended its side
/// and was answered, the connection failed, or `stop` is readable. Shows `thread`,
/// the calling one, as RUNNING while there are bytes to answer. Does not close
/// `socket`.
void ServeEcho(int socket, int stop, RegisteredThread& thread);

}  // namespace jobpool
