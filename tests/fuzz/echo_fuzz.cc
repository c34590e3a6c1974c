// Echo's connection over a real socket: whatever the chunks, what comes back is what was sent, in upper case.

#include <algorithm>
#include <cerrno>
#include <fuzzer/FuzzedDataProvider.h>
#include <string>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>

#include "server/base/event.h"
#include "server/echo/echo_connection.h"
#include "tests/fuzz/check.h"

namespace jobpool {
namespace {

// Less than a socket's buffers hold: here one thread sends it all and then reads it.
constexpr size_t kMaxBytes = 64 << 10;

std::string Upper(std::string text) {
  for (char& c : text) {
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - ('a' - 'A'));
  }
  return text;
}

// Appends `size` bytes, or what there is to the end of file.
void Receive(int socket, size_t size, std::string& received) {
  std::string buffer(size, '\0');
  for (size_t count = 0; count < size;) {
    const ssize_t more = recv(socket, buffer.data(), size - count, 0);
    if (more < 0 && errno == EINTR) continue;  // libFuzzer's own timer
    FUZZ_CHECK(more >= 0);
    if (more == 0) return;
    received.append(buffer, 0, static_cast<size_t>(more));
    count += static_cast<size_t>(more);
  }
}

void Converse(FuzzedDataProvider& data) {
  int sockets[2];
  FUZZ_CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) == 0);
  ThreadRegistry registry;
  const Event stop;
  std::thread server([&] {
    RegisteredThread thread(registry, ThreadRole::kConnection, "");
    ServeEcho(sockets[1], stop.descriptor(), thread);
    close(sockets[1]);
  });
  const bool stopped = data.ConsumeBool();
  std::string sent;
  std::string received;
  while (data.remaining_bytes() > 0 && sent.size() < kMaxBytes) {
    const bool answered = data.ConsumeBool();
    const auto size = data.ConsumeIntegralInRange<size_t>(1, 2 * kEchoBufferBytes);
    std::string chunk = data.ConsumeRandomLengthString(size);
    if (!chunk.empty()) chunk.resize(std::max(chunk.size(), size), chunk.back());
    FUZZ_CHECK(send(sockets[0], chunk.data(), chunk.size(), MSG_NOSIGNAL) ==
               static_cast<ssize_t>(chunk.size()));
    sent += chunk;
    if (answered) Receive(sockets[0], sent.size() - received.size(), received);
  }
  if (stopped) {
    stop.Raise();
  } else {
    shutdown(sockets[0], SHUT_WR);
  }
  server.join();
  FUZZ_CHECK(registry.Count().total() == 0);
  // A stop leaves bytes unread, of which a unix socket tells by ECONNRESET.
  if (!stopped) Receive(sockets[0], sent.size() + 1, received);
  close(sockets[0]);
  const std::string expected = Upper(sent);
  FUZZ_CHECK(stopped ? expected.compare(0, received.size(), received) == 0 : received == expected);
}

}  // namespace
}  // namespace jobpool

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  FuzzedDataProvider data(bytes, size);
  jobpool::Converse(data);
  return 0;
}
