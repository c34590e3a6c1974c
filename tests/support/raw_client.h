#pragma once

#include <arpa/inet.h>
#include <cerrno>
#include <netinet/in.h>
#include <poll.h>
#include <string>
#include <sys/socket.h>
#include <unistd.h>
#include <utility>

#include <gtest/gtest.h>

#include "absl/strings/string_view.h"
#include "tests/support/eventually.h"

namespace jobpool {

/// A socket to a port of 127.0.0.1 that says and hears just what it is told to.
class RawClient {
 public:
  /// `receive_buffer`: of the kernel, in bytes; 0: its default.
  explicit RawClient(int port, int receive_buffer = 0)
      : socket_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    if (receive_buffer > 0)
      setsockopt(socket_, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof(receive_buffer));
    const timeval patience{kTestPatience.count(), 0};
    setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    setsockopt(socket_, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connected_ = connect(socket_, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0;
  }
  ~RawClient() {
    if (socket_ >= 0) close(socket_);
  }
  RawClient(RawClient&& other) noexcept
      : socket_(std::exchange(other.socket_, -1)),
        connected_(other.connected_),
        heard_(std::move(other.heard_)) {}

  bool connected() const { return connected_; }
  int descriptor() const { return socket_; }

  /// Returns false if the server has closed.
  bool Send(absl::string_view data) {
    while (!data.empty()) {
      const ssize_t sent = send(socket_, data.data(), data.size(), MSG_NOSIGNAL);
      if (sent <= 0) return false;
      data.remove_prefix(static_cast<size_t>(sent));
    }
    return true;
  }

  void HalfClose() { shutdown(socket_, SHUT_WR); }

  /// An answer with its body, or what came before the server closed. `head`: it
  /// has no body.
  std::string Answer(bool head = false) {
    for (;;) {
      const size_t end = heard_.find("\r\n\r\n");
      if (end != std::string::npos) {
        const size_t length = heard_.find("Content-Length: ");
        const size_t body = head || length > end ? 0 : std::stoul(heard_.substr(length + 16));
        if (heard_.size() >= end + 4 + body) {
          std::string answer = heard_.substr(0, end + 4 + body);
          heard_.erase(0, answer.size());
          return answer;
        }
      }
      if (!Hear()) return std::exchange(heard_, "");
    }
  }

  /// Everything until the server closes; fails the test if it never does.
  std::string Rest() {
    while (Hear()) {
    }
    return std::exchange(heard_, "");
  }

  /// Whether the connection was torn down instead of closed, as far as was heard.
  bool was_reset() const { return was_reset_; }

  /// Whether the server has closed, or says something, by now.
  bool HasNews() const {
    pollfd waiting{socket_, POLLIN, 0};
    return poll(&waiting, 1, 0) == 1;
  }

 private:
  bool Hear() {
    char data[65536];
    const ssize_t count = recv(socket_, data, sizeof(data), 0);
    if (count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) ADD_FAILURE() << "the server hangs";
    was_reset_ = count < 0 && errno == ECONNRESET;
    if (count <= 0) return false;
    heard_.append(data, static_cast<size_t>(count));
    return true;
  }

  int socket_;
  bool connected_ = false;
  bool was_reset_ = false;
  std::string heard_;
};

}  // namespace jobpool
