#include "tests/bench/gearman.h"

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/bench/report.h"

namespace jobpool::bench {
namespace {

// Types of packets.
enum class Type : uint32_t {
  kCanDo = 1,
  kPreSleep = 4,
  kNoop = 6,
  kSubmitJob = 7,
  kJobCreated = 8,
  kGrabJob = 9,
  kNoJob = 10,
  kJobAssign = 11,
  kWorkComplete = 13,
};

void AppendNumber(uint32_t number, std::string& bytes) {
  for (int shift = 24; shift >= 0; shift -= 8) bytes.push_back(static_cast<char>(number >> shift & 0xff));
}

std::string Packet(Type type, const std::string& data = "") {
  std::string bytes("\0REQ", 4);
  AppendNumber(static_cast<uint32_t>(type), bytes);
  AppendNumber(static_cast<uint32_t>(data.size()), bytes);
  return bytes + data;
}

class Connection {
 public:
  explicit Connection(int socket) : socket_(socket) {}

  /// Returns false when the connection has ended.
  bool Send(const std::string& bytes) const {
    for (size_t sent = 0; sent < bytes.size();) {
      const ssize_t size = send(socket_, bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL);
      if (size <= 0) return false;
      sent += static_cast<size_t>(size);
    }
    return true;
  }

  /// Waits for the next packet; returns false when the connection has ended.
  bool Receive(Type* type, std::string* data) {
    if (!Fill(kHeader)) return false;
    *type = static_cast<Type>(Number(4));
    const size_t size = Number(8);
    if (!Fill(kHeader + size)) return false;
    data->assign(bytes_, begin_ + kHeader, size);
    begin_ += kHeader + size;
    return true;
  }

  /// No packet can be received without waiting.
  bool IsDrained() const { return begin_ == bytes_.size(); }

 private:
  static constexpr size_t kHeader = 12;

  uint32_t Number(size_t at) const {
    uint32_t number = 0;
    for (size_t i = begin_ + at; i < begin_ + at + 4; ++i)
      number = number << 8 | static_cast<unsigned char>(bytes_[i]);
    return number;
  }

  bool Fill(size_t size) {
    if (bytes_.size() - begin_ < size) {
      bytes_.erase(0, begin_);
      begin_ = 0;
    }
    while (bytes_.size() - begin_ < size) {
      char buffer[65536];
      const ssize_t got = read(socket_, buffer, sizeof(buffer));
      if (got <= 0) return false;
      bytes_.append(buffer, static_cast<size_t>(got));
    }
    return true;
  }

  const int socket_;
  std::string bytes_;  // received; those before begin_ are done with
  size_t begin_ = 0;
};

void Work(int socket) {
  Connection connection(socket);
  const std::string grab = Packet(Type::kGrabJob);
  std::string answer = Packet(Type::kCanDo, "noop") + grab;
  Type type{};
  for (std::string data; connection.Send(answer) && connection.Receive(&type, &data);) {
    answer.clear();
    if (type == Type::kNoJob) {
      answer = Packet(Type::kPreSleep);
    } else if (type == Type::kNoop) {
      answer = grab;
    } else if (type == Type::kJobAssign) {  // handle, function, what it is to do, with zeros between
      answer = Packet(Type::kWorkComplete, data.substr(0, data.find('\0') + 1)) + grab;
    }
  }
}

int64_t Submit(int socket, int window, double seconds) {
  // Function, a key to join equal jobs by, for which none is said, what it is to do.
  const std::string submit = Packet(Type::kSubmitJob, std::string("noop\0\0", 6));
  Connection connection(socket);
  const Stopwatch watch;
  int64_t done = 0;
  int under_way = 0;
  std::string out;
  Type type{};
  std::string data;
  for (;;) {
    if (connection.IsDrained()) {
      const bool going_on = watch.Seconds() < seconds;
      out.clear();
      for (; going_on && under_way < window; ++under_way) out += submit;
      if (under_way == 0) return done;
      if (!connection.Send(out)) break;
    }
    if (!connection.Receive(&type, &data)) break;
    if (type == Type::kJobCreated) continue;
    if (type != Type::kWorkComplete) break;
    --under_way;
    ++done;
  }
  std::fprintf(stderr, "gearmand has refused a job\n");
  std::_Exit(1);
}

}  // namespace

Gearman::Gearman(const std::string& gearmand, int workers)
    : port_(FreePort()),
      child_({gearmand, "-L", "127.0.0.1", "-p", std::to_string(port_), "--verbose", "INFO", "-l", "stderr"},
             2, "Listening on ") {
  for (int i = 0; i < workers; ++i) {
    connections_.push_back(ConnectToLoopback(port_));
    workers_.emplace_back(Work, connections_.back());
  }
}

Gearman::~Gearman() {
  for (const int connection : connections_) shutdown(connection, SHUT_RDWR);
  for (std::thread& worker : workers_) worker.join();
  for (const int connection : connections_) close(connection);
}

double Gearman::JobsPerSecond(int clients, int window, double seconds) const {
  std::atomic<int64_t> done{0};
  std::vector<std::thread> threads;
  const Stopwatch watch;
  for (int i = 0; i < clients; ++i) {
    threads.emplace_back([&] {
      const int connection = ConnectToLoopback(port_);
      done += Submit(connection, window, seconds);
      close(connection);
    });
  }
  for (std::thread& thread : threads) thread.join();
  return static_cast<double>(done.load()) / watch.Seconds();
}

}  // namespace jobpool::bench
