#include "tests/bench/child.h"

#include <cstdio>
#include <cstdlib>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
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
  std::string text;
  char byte = 0;
  for (;;) {
    if (read(output_, &byte, 1) != 1) {
      std::fprintf(stderr, "%s did not say where it serves: %s\n", argv[0].c_str(), text.c_str());
      std::exit(1);
    }
    text.push_back(byte);
    const size_t at = text.find(before);
    if (byte != '\n') continue;
    if (at == std::string::npos) {
      text.clear();
      continue;
    }
    const size_t begin = at + before.size();
    address_ = text.substr(begin, text.find_first_of(" \n", begin) - begin);
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

}  // namespace jobpool::bench
