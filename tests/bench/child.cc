#include "tests/bench/child.h"

#include <arpa/inet.h>
#include <cstdio>
#include <cstdlib>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

extern char** environ;

namespace jobpool::bench {

Child::Child(const std::vector<std::string>& argv, int stream, const std::string& before) {
  int in[2];
  int out[2];
  if (pipe2(in, O_CLOEXEC) != 0 || pipe2(out, O_CLOEXEC) != 0) std::abort();
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, in[0], 0);
  posix_spawn_file_actions_adddup2(&actions, out[1], stream);
  std::vector<char*> arguments;
  for (const std::string& argument : argv) arguments.push_back(const_cast<char*>(argument.c_str()));
  arguments.push_back(nullptr);
  if (posix_spawn(&pid_, argv[0].c_str(), &actions, nullptr, arguments.data(), environ) != 0) {
    std::perror(argv[0].c_str());
    std::exit(1);
  }
  posix_spawn_file_actions_destroy(&actions);
  close(in[0]);
  close(out[1]);
  stdin_ = in[1];
  output_ = out[0];
  char byte = 0;
  for (;;) {
    if (read(output_, &byte, 1) != 1) {
      std::fprintf(stderr, "%s did not say where it serves: %s\n", argv[0].c_str(), line_.c_str());
      std::exit(1);
    }
    line_.push_back(byte);
    if (byte != '\n') continue;
    if (line_.find(before) == std::string::npos) {
      line_.clear();
      continue;
    }
    address_ = After(before);
    drain_ = std::thread([this] {
      char rest[4096];
      while (read(output_, rest, sizeof(rest)) > 0) {
      }
    });
    return;
  }
}

Child::~Child() {
  close(stdin_);
  kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
  drain_.join();
  close(output_);
}

std::string Child::After(const std::string& before) const {
  const size_t at = line_.find(before);
  if (at == std::string::npos) return "";
  const size_t begin = at + before.size();
  return line_.substr(begin, line_.find_first_of(" \n", begin) - begin);
}

int FreePort() {
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  if (bind(listener, reinterpret_cast<sockaddr*>(&address), size) != 0 ||
      getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    std::perror("a free port");
    std::exit(1);
  }
  close(listener);
  return ntohs(address.sin_port);
}

int ConnectToLoopback(int port) {
  const int connection = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (connect(connection, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    close(connection);
    return -1;
  }
  const int on = 1;
  setsockopt(connection, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  return connection;
}

}  // namespace jobpool::bench
