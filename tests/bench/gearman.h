#pragma once

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "tests/bench/child.h"

namespace jobpool::bench {

/// A Gearman server of our own on loopback, with workers that do nothing, each on a thread of this
/// process; spoken to as its PROTOCOL file says.
class Gearman {
 public:
  Gearman(const std::string& gearmand, int workers);
  ~Gearman();

  /// Jobs a second that `clients`, each on a thread and connection of its own, have done in
  /// the foreground, each with `window` of them under way. Ends the program if one is refused.
  double JobsPerSecond(int clients, int window, double seconds) const;

 private:
  const int port_;
  const Child child_;
  std::vector<int> connections_;
  std::vector<std::thread> workers_;
};

}  // namespace jobpool::bench
