#include <algorithm>
#include <atomic>
#include <cerrno>
#include <memory>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <random>
#include <string>
#include <sys/resource.h>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>
#include <vector>

#include <gtest/gtest.h>

#include "absl/strings/ascii.h"
#include "server/echo/echo_connection.h"
#include "server/echo/echo_server.h"
#include "tests/support/eventually.h"
#include "tests/support/log_hook.h"
#include "tests/support/watchdog.h"

namespace jobpool {
namespace {

// A client's end of a connection to a port of 127.0.0.1.
class Client {
 public:
  explicit Client(int port) : Client() { Connect(port); }
  Client() : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    const timeval patience{kTestPatience.count(), 0};
    setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
  }
  ~Client() { Close(); }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  void Connect(int port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(static_cast<uint16_t>(port));
    EXPECT_EQ(connect(socket_, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  }

  void Send(absl::string_view data) {
    while (!data.empty()) {
      const ssize_t sent = send(socket_, data.data(), data.size(), MSG_NOSIGNAL);
      ASSERT_GT(sent, 0);
      data.remove_prefix(static_cast<size_t>(sent));
    }
  }

  // Until `size` bytes have come, or the end.
  std::string Receive(size_t size) {
    std::string received(size, '\0');
    size_t count = 0;
    while (count < size) {
      const ssize_t more = recv(socket_, &received[count], size - count, 0);
      if (more <= 0) break;
      count += static_cast<size_t>(more);
    }
    received.resize(count);
    return received;
  }

  std::string Ask(absl::string_view data) {
    Send(data);
    return Receive(data.size());
  }

  // Whether the server has closed: an end of file, or a reset.
  bool IsClosed() {
    char byte = 0;
    const ssize_t received = recv(socket_, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    return received == 0 || (received < 0 && errno == ECONNRESET);
  }

  void EndSending() { shutdown(socket_, SHUT_WR); }

  void Close() {
    if (socket_ >= 0) close(socket_);
    socket_ = -1;
  }

  // Closes with a RST rather than a FIN.
  void Reset() {
    const linger at_once{1, 0};
    setsockopt(socket_, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
    Close();
  }

  int socket() const { return socket_; }

 private:
  int socket_;
};

class EchoTest : public ::testing::Test {
 protected:
  EchoTest() : server_(std::make_unique<EchoServer>(registry_)) {
    EXPECT_TRUE(server_->Listen("127.0.0.1", 0).ok());
    EXPECT_TRUE(server_->Serve().ok());
  }

  int port() const { return server_->port(); }

  std::vector<ThreadInfo> Connections() const {
    std::vector<ThreadInfo> threads = registry_.Snapshot().threads;
    std::erase_if(threads, [](const ThreadInfo& t) { return t.role != ThreadRole::kConnection; });
    return threads;
  }

  testing::AssertionResult ConnectionsBecome(size_t count) const {
    return Eventually([&] { return Connections().size() == count; });
  }

  // Sends without reading until no more goes in, and the newest connection's thread cannot go on: a
  // bounded number of bytes, returned.
  size_t SendUntilStuck(const Client& client) {
    const std::string data(kEchoBufferBytes, 'a');
    size_t sent = 0;
    EXPECT_TRUE(Eventually([&] {
      pollfd writable{client.socket(), POLLOUT, 0};
      while (sent < 64 << 20 && poll(&writable, 1, 50) > 0) {
        const ssize_t more = send(client.socket(), data.data(), data.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
        if (more > 0) sent += static_cast<size_t>(more);
      }
      return Connections().back().running();
    }));
    EXPECT_LT(sent, 64 << 20);
    return sent;
  }

  ThreadRegistry registry_;
  std::unique_ptr<EchoServer> server_;
};

TEST_F(EchoTest, AnswersEachChunkAtOnceInUpperCase) {
  Client client(port());
  EXPECT_EQ(client.Ask("hello"), "HELLO");
  EXPECT_EQ(client.Ask("x"), "X");
  EXPECT_EQ(client.Ask("\n\n two\r\n"), "\n\n TWO\r\n");
}

TEST_F(EchoTest, ChangesAsciiLettersOnly) {
  std::string all;
  for (int c = 0; c < 256; ++c) all.push_back(static_cast<char>(c));
  std::string expected = all;
  for (char c = 'a'; c <= 'z'; ++c) expected[static_cast<size_t>(c)] = static_cast<char>(c - 'a' + 'A');
  EXPECT_EQ(Client(port()).Ask(all), expected);
}

TEST_F(EchoTest, AnswersManyBytesInOddChunks) {
  std::mt19937 random(7);
  std::string data(3'000'000, '\0');
  for (char& c : data) c = static_cast<char>(random());
  Client client(port());
  std::thread sender([&] {
    for (size_t i = 0; i < data.size();) {
      const size_t size = std::min<size_t>(1 + random() % 40'000, data.size() - i);
      client.Send(absl::string_view(data).substr(i, size));
      i += size;
    }
  });
  const std::string received = client.Receive(data.size());
  sender.join();
  EXPECT_TRUE(received == absl::AsciiStrToUpper(data));
}

TEST_F(EchoTest, AnswersWhatCameBeforeTheEndThenCloses) {
  const std::string data(100'000, 'a');
  Client client(port());
  std::thread sender([&] {
    client.Send(data);
    client.EndSending();
  });
  const std::string received = client.Receive(data.size() + 1);  // to the end of file
  sender.join();
  EXPECT_EQ(received.size(), data.size());
  EXPECT_TRUE(client.IsClosed());
  EXPECT_TRUE(ConnectionsBecome(0));
}

TEST_F(EchoTest, EachConnectionIsAThreadInRollCall) {
  EXPECT_TRUE(Connections().empty());
  std::vector<std::unique_ptr<Client>> clients;
  for (int i = 0; i < 5; ++i) {
    clients.push_back(std::make_unique<Client>(port()));
    EXPECT_EQ(clients.back()->Ask("a"), "A");
  }
  const std::vector<ThreadInfo> threads = Connections();
  ASSERT_EQ(threads.size(), 5u);
  EXPECT_EQ(registry_.Count().by_role[static_cast<size_t>(ThreadRole::kConnection)], 5);
  EXPECT_EQ(registry_.Count().by_role[static_cast<size_t>(ThreadRole::kService)], 1);
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(threads[static_cast<size_t>(i)].display_name, "Connection-" + std::to_string(i + 1));
    EXPECT_EQ(threads[static_cast<size_t>(i)].pool, "");
  }
  clients[0]->Close();
  clients[1]->Reset();
  EXPECT_TRUE(ConnectionsBecome(3));
  EXPECT_EQ(clients[2]->Ask("still"), "STILL");
}

TEST_F(EchoTest, IsRunningWhileItHasBytesToAnswer) {
  Client client(port());
  EXPECT_EQ(client.Ask("a"), "A");
  EXPECT_TRUE(Eventually([&] { return !Connections().at(0).running(); }));
  const size_t unread = SendUntilStuck(client);
  EXPECT_EQ(client.Receive(unread).size(), unread);
  EXPECT_TRUE(Eventually([&] { return !Connections().at(0).running(); }));
}

TEST_F(EchoTest, ClosesTheConnectionBeyondItsBoundAtOnce) {
  std::vector<std::unique_ptr<Client>> clients;
  for (int i = 0; i < kMaxEchoConnections; ++i) clients.push_back(std::make_unique<Client>(port()));
  EXPECT_TRUE(ConnectionsBecome(kMaxEchoConnections));
  Client surplus(port());
  EXPECT_EQ(surplus.Receive(1), "");
  EXPECT_EQ(Connections().size(), static_cast<size_t>(kMaxEchoConnections));
  for (const auto& client : clients) EXPECT_EQ(client->Ask("on"), "ON");
  // A client that has seen its connection's end finds its place free.
  for (int i = 0; i < 20; ++i) {
    clients[0]->EndSending();
    EXPECT_EQ(clients[0]->Receive(1), "");
    clients[0] = std::make_unique<Client>(port());
    EXPECT_EQ(clients[0]->Ask("in"), "IN");
  }
}

TEST_F(EchoTest, StopEndsSilentClientsAndThoseThatDoNotRead) {
  Client silent(port());
  EXPECT_EQ(silent.Ask("a"), "A");
  Client deaf(port());
  SendUntilStuck(deaf);
  server_->Stop();
  EXPECT_EQ(registry_.Count().total(), 0);
  EXPECT_EQ(silent.Receive(1), "");
  server_->Stop();  // again
}

TEST_F(EchoTest, StopEndsAClientThatNeverPauses) {
  Client client(port());
  std::thread sender([&] {
    const std::string data(kEchoBufferBytes, 'a');
    while (send(client.socket(), data.data(), data.size(), MSG_NOSIGNAL) > 0) {
    }
  });
  std::thread reader([&] {
    while (!client.Receive(kEchoBufferBytes).empty()) {
    }
  });
  EXPECT_TRUE(Eventually([&] { return !Connections().empty() && Connections()[0].running(); }));
  server_->Stop();
  EXPECT_EQ(registry_.Count().total(), 0);
  sender.join();
  reader.join();
}

TEST_F(EchoTest, StopAcceptingLeavesTheConnectionsAndGivesThePortBack) {
  Client client(port());
  EXPECT_EQ(client.Ask("a"), "A");
  server_->StopAccepting();
  EXPECT_EQ(client.Ask("b"), "B");
  EchoServer next(registry_);
  EXPECT_TRUE(next.Listen("127.0.0.1", port()).ok());
}

TEST_F(EchoTest, TakenAddressIsRefusedWithItsReason) {
  EchoServer second(registry_);
  const absl::Status status = second.Listen("127.0.0.1", port());
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(status.message(),
            "cannot listen on 127.0.0.1:" + std::to_string(port()) + ": Address already in use");
  EXPECT_EQ(EchoServer(registry_).Listen("no address", 0).code(), absl::StatusCode::kUnavailable);
}

TEST_F(EchoTest, ListensOnIPv6) {
  EchoServer server(registry_);
  const absl::Status status = server.Listen("::1", 0);
  if (!status.ok()) GTEST_SKIP() << status;  // a machine without IPv6
  ASSERT_TRUE(server.Serve().ok());
  EXPECT_GT(server.port(), 0);
  EchoServer second(registry_);
  EXPECT_EQ(second.Listen("::1", server.port()).message(),
            "cannot listen on [::1]:" + std::to_string(server.port()) + ": Address already in use");
}

// The server's end of `client`'s connection, which is in this process too.
int PeerOf(const Client& client) {
  sockaddr_in mine{};
  socklen_t size = sizeof(mine);
  getsockname(client.socket(), reinterpret_cast<sockaddr*>(&mine), &size);
  for (int descriptor = 0; descriptor < 4096; ++descriptor) {
    sockaddr_in peer{};
    size = sizeof(peer);
    if (getpeername(descriptor, reinterpret_cast<sockaddr*>(&peer), &size) == 0 &&
        peer.sin_family == AF_INET && peer.sin_port == mine.sin_port) {
      return descriptor;
    }
  }
  return -1;
}

int OptionOf(int socket, int level, int name) {
  int value = 0;
  socklen_t size = sizeof(value);
  EXPECT_EQ(getsockopt(socket, level, name, &value, &size), 0);
  return value;
}

TEST_F(EchoTest, ClientsThatVanishAreNoticedAndBuffersAreSmall) {
  Client client(port());
  EXPECT_EQ(client.Ask("a"), "A");
  const int socket = PeerOf(client);
  ASSERT_GE(socket, 0);
  EXPECT_EQ(OptionOf(socket, SOL_SOCKET, SO_KEEPALIVE), 1);
  EXPECT_EQ(OptionOf(socket, IPPROTO_TCP, TCP_KEEPIDLE), 60);
  EXPECT_EQ(OptionOf(socket, IPPROTO_TCP, TCP_KEEPINTVL), 10);
  EXPECT_EQ(OptionOf(socket, IPPROTO_TCP, TCP_KEEPCNT), 3);
  EXPECT_EQ(OptionOf(socket, IPPROTO_TCP, TCP_USER_TIMEOUT), 90'000);
  EXPECT_EQ(OptionOf(socket, IPPROTO_TCP, TCP_NODELAY), 1);
  EXPECT_LE(OptionOf(socket, SOL_SOCKET, SO_SNDBUF), 128 << 10);
  EXPECT_LE(OptionOf(socket, SOL_SOCKET, SO_RCVBUF), 128 << 10);
}

// Lowers how many descriptors this process may have to those it has.
class NoMoreDescriptors {
 public:
  NoMoreDescriptors() {
    getrlimit(RLIMIT_NOFILE, &before_);
    const int next = dup(0);  // the lowest that is free
    close(next);
    const rlimit none{static_cast<rlim_t>(next), before_.rlim_max};
    setrlimit(RLIMIT_NOFILE, &none);
  }
  ~NoMoreDescriptors() { setrlimit(RLIMIT_NOFILE, &before_); }
  NoMoreDescriptors(const NoMoreDescriptors&) = delete;
  NoMoreDescriptors& operator=(const NoMoreDescriptors&) = delete;

 private:
  rlimit before_{};
};

TEST(EchoDescriptorsTest, RunningOutIsLoggedNowAndThenAndWaitedForWithoutSpinning) {
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
  GTEST_SKIP() << "UBSan's check of vptr opens a pipe, and takes it for a fault that it cannot";
#endif
#endif
  std::atomic<int> lines{0};
  const LogHook hook("error", [&](const std::string& line) {
    if (line.find("echo cannot accept reason=\"Too many open files\"") == 0) ++lines;
  });
  ThreadRegistry registry;
  EchoServer server(registry);
  ASSERT_TRUE(server.Listen("127.0.0.1", 0).ok());
  ASSERT_TRUE(server.Serve().ok());
  Client client;
  {
    const NoMoreDescriptors none;
    client.Connect(server.port());
    EXPECT_TRUE(Eventually([&] { return lines == 2; }));  // the second comes a second later
    const ThreadInfo acceptor = registry.Snapshot().threads.at(0);
    EXPECT_EQ(acceptor.role, ThreadRole::kService);
    EXPECT_LT(acceptor.cpu_time, absl::Milliseconds(200));
  }
  EXPECT_EQ(client.Ask("late"), "LATE");
}

}  // namespace
}  // namespace jobpool
