#pragma once

#include <string>
#include <sys/types.h>
#include <thread>
#include <vector>

namespace jobpool::bench {

/// A server that a benchmark starts, as a process of its own; killed at the end.
class Child {
 public:
  /// Starts `argv` and reads its `stream` (1 or 2) up to the first line that
  /// holds `before`, followed by an address, and keeps that line. Ends the program if
  /// there is none.
  Child(const std::vector<std::string>& argv, int stream, const std::string& before);
  ~Child();
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  const std::string& address() const { return address_; }
  /// What follows `before` in that line, up to a blank; empty if it is not in it.
  std::string After(const std::string& before) const;
  pid_t pid() const { return pid_; }

 private:
  pid_t pid_ = -1;
  int stdin_ = -1;
  int output_ = -1;
  std::string line_;
  std::string address_;
  std::thread drain_;  // reads what the child says later, so that it never waits to say it
};

/// One of loopback that nobody listens on now.
int FreePort();
/// A connection to a port of loopback that sends what it is given at once; -1: nobody listens.
int ConnectToLoopback(int port);

}  // namespace jobpool::bench
