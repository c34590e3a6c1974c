#include "server/echo/echo_connection.h"

#include <array>
#include <cerrno>
#include <poll.h>
#include <sys/socket.h>

#include "absl/strings/ascii.h"

namespace jobpool {
namespace {

// Waits until `socket` is ready for `events`, or has failed. Returns false if
// `stop` is readable.
bool AwaitSocket(int socket, short events, int stop) {
  for (;;) {
    std::array<pollfd, 2> descriptors = {{{socket, events, 0}, {stop, POLLIN, 0}}};
    if (poll(descriptors.data(), descriptors.size(), -1) >= 0) return descriptors[1].revents == 0;
    if (errno != EINTR) return false;
  }
}

bool TryAgain() { return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR; }

// Returns false if there is no one to send to any more, or no time.
bool SendAll(int socket, const char* data, size_t size, int stop) {
  while (size > 0) {
    const ssize_t sent = send(socket, data, size, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent >= 0) {
      data += sent;
      size -= static_cast<size_t>(sent);
    } else if (!TryAgain() || !AwaitSocket(socket, POLLOUT, stop)) {
      return false;
    }
  }
  return true;
}

}  // namespace

void ServeEcho(int socket, int stop, RegisteredThread& thread) {
  std::array<char, kEchoBufferBytes> buffer;
  while (AwaitSocket(socket, POLLIN, stop)) {
    const ssize_t received = recv(socket, buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (received < 0 && TryAgain()) continue;
    if (received <= 0) return;
    thread.SetRunning(true);
    for (ssize_t i = 0; i < received; ++i) {
      buffer[i] = absl::ascii_toupper(static_cast<unsigned char>(buffer[i]));
    }
    if (!SendAll(socket, buffer.data(), static_cast<size_t>(received), stop)) return;
    thread.SetRunning(false);
  }
}

}  // namespace jobpool
