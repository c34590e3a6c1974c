#include "server/echo/echo_server.h"

#include <array>
#include <cerrno>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <system_error>
#include <unistd.h>

#include <spdlog/spdlog.h>

#include "absl/strings/str_cat.h"
#include "server/echo/echo_connection.h"
#include "server/telemetry/log.h"

namespace jobpool {
namespace {

// In the kernel, each way. Else it grows them to megabytes for a client that does not read (tcp(7),
// tcp_rmem and tcp_wmem).
constexpr int kKernelBufferBytes = 64 << 10;
// A silent client is asked whether it is still there after a minute, and is gone if it does not say so
// within half a minute.
constexpr int kKeepaliveIdleSeconds = 60;
constexpr int kKeepaliveIntervalSeconds = 10;
constexpr int kKeepaliveProbes = 3;
// The same bound on what we sent and it did not take.
constexpr unsigned kUnreadMilliseconds = 90'000;
// Until accept() is tried again when descriptors have run out.
constexpr int kBackoffMilliseconds = 100;

std::string Reason(int error) { return std::generic_category().message(error); }

void SetOption(int socket, int level, int name, int value) {
  // Each of them only tunes: where the system refuses, the connection works without.
  setsockopt(socket, level, name, &value, sizeof(value));
}

void TuneConnection(int socket) {
  SetOption(socket, IPPROTO_TCP, TCP_NODELAY, 1);
  SetOption(socket, SOL_SOCKET, SO_KEEPALIVE, 1);
  SetOption(socket, IPPROTO_TCP, TCP_KEEPIDLE, kKeepaliveIdleSeconds);
  SetOption(socket, IPPROTO_TCP, TCP_KEEPINTVL, kKeepaliveIntervalSeconds);
  SetOption(socket, IPPROTO_TCP, TCP_KEEPCNT, kKeepaliveProbes);
  SetOption(socket, IPPROTO_TCP, TCP_USER_TIMEOUT, kUnreadMilliseconds);
}

// A listening socket; negative, and errno, if there is none to be had.
int OpenListener(const addrinfo& address) {
  const int listener = socket(address.ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_TCP);
  if (listener < 0) return -1;
  // Not SO_REUSEPORT, with which a second server would start on the same port.
  SetOption(listener, SOL_SOCKET, SO_REUSEADDR, 1);
  SetOption(listener, SOL_SOCKET, SO_RCVBUF, kKernelBufferBytes);  // connections inherit both
  SetOption(listener, SOL_SOCKET, SO_SNDBUF, kKernelBufferBytes);
  if (bind(listener, address.ai_addr, address.ai_addrlen) == 0 && listen(listener, SOMAXCONN) == 0) {
    return listener;
  }
  const int error = errno;
  close(listener);
  errno = error;
  return -1;
}

int PortOf(int socket) {
  sockaddr_storage address{};
  socklen_t size = sizeof(address);
  getsockname(socket, reinterpret_cast<sockaddr*>(&address), &size);
  // At the same place in both families' addresses.
  return ntohs(reinterpret_cast<const sockaddr_in*>(&address)->sin_port);
}

}  // namespace

EchoServer::~EchoServer() { Stop(); }

absl::Status EchoServer::Listen(const std::string& host, int port) {
  const bool is_ipv6 = host.find(':') != std::string::npos;
  const auto cannot = [&](absl::string_view why) {
    return absl::UnavailableError(
        absl::StrCat("cannot listen on ", is_ipv6 ? "[" : "", host, is_ipv6 ? "]:" : ":", port, ": ", why));
  };
  if (stop_.descriptor() < 0 || stop_accepting_.descriptor() < 0) return cannot("no descriptors left");
  addrinfo hints{};
  hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* address = nullptr;
  if (const int error = getaddrinfo(host.c_str(), absl::StrCat(port).c_str(), &hints, &address); error != 0) {
    return cannot(gai_strerror(error));
  }
  listener_ = OpenListener(*address);
  const int error = errno;
  freeaddrinfo(address);
  if (listener_ < 0) return cannot(Reason(error));
  port_ = PortOf(listener_);
  return absl::OkStatus();
}

absl::Status EchoServer::Serve() {
  try {
    acceptor_ = std::thread([this] { Accept(); });
  } catch (const std::system_error& error) {
    return absl::UnavailableError(absl::StrCat("cannot start a thread for echo: ", error.what()));
  }
  return absl::OkStatus();
}

void EchoServer::StopAccepting() {
  stop_accepting_.Raise();
  if (acceptor_.joinable()) acceptor_.join();
  if (listener_ >= 0) close(listener_);
  listener_ = -1;
}

void EchoServer::Stop() {
  StopAccepting();
  stop_.Raise();
  Threads ended;
  {
    MutexLock lock(mu_);
    while (!connections_.empty()) ended_cv_.Wait(mu_);
    ended.swap(ended_);
  }
  for (std::thread& thread : ended) thread.join();
}

void EchoServer::Accept() {
  RegisteredThread thread(registry_, ThreadRole::kService, "");
  LogLimiter limiter(/*per_second=*/1, Clock::Real());
  for (bool out_of_descriptors = false;;) {
    std::array<pollfd, 2> descriptors = {{{stop_accepting_.descriptor(), POLLIN, 0}, {listener_, POLLIN, 0}}};
    // The listener stays readable while nothing can be accepted: wait without it, or spin.
    poll(descriptors.data(), out_of_descriptors ? 1 : 2, out_of_descriptors ? kBackoffMilliseconds : -1);
    if (descriptors[0].revents != 0) return;
    const int socket = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    const int error = errno;
    out_of_descriptors =
        socket < 0 && (error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM);
    if (socket >= 0) {
      thread.SetRunning(true);
      Admit(socket);
      thread.SetRunning(false);
    } else if (int64_t suppressed = 0; out_of_descriptors && limiter.Allow(&suppressed)) {
      Log().error("echo cannot accept reason=\"{}\" suppressed={}", Reason(error), suppressed);
    }
    // Any other error is the connection's own, which is gone (accept(2)).
  }
}

void EchoServer::Admit(int socket) {
  TuneConnection(socket);
  MutexLock lock(mu_);
  if (connections_.size() >= kMaxEchoConnections) {
    close(socket);
    return;
  }
  const auto self = connections_.emplace(connections_.end());
  try {
    *self = std::thread([this, socket, self] { ServeConnection(socket, self); });
  } catch (const std::system_error&) {  // no more threads to be had
    connections_.erase(self);
    close(socket);
  }
}

void EchoServer::ServeConnection(int socket, Threads::iterator self) {
  RegisteredThread thread(registry_, ThreadRole::kConnection, "");
  ServeEcho(socket, stop_.descriptor(), thread);
  Threads before;
  {
    MutexLock lock(mu_);
    // Under the lock: who sees its connection closed finds the place free.
    close(socket);
    before.swap(ended_);
    ended_.splice(ended_.end(), connections_, self);
    ended_cv_.NotifyAll();
  }
  // From here on it touches nothing of the server but the registry. It joins the one that ended before it.
  for (std::thread& earlier : before) earlier.join();
}

}  // namespace jobpool
