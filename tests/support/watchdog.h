#pragma once

#include <unistd.h>

#include <gtest/gtest.h>

namespace jobpool {

/// Ends a program whose test hangs (SIGALRM kills it): a wake-up that was missed
/// shows as a failure of that test, also where no CTest watches.
class Watchdog final : public ::testing::EmptyTestEventListener {
 public:
  void OnTestStart(const ::testing::TestInfo&) override { alarm(100); }
  void OnTestEnd(const ::testing::TestInfo&) override { alarm(0); }
};

// One for the program, however many files include this.
inline const bool watchdog_installed = [] {
  ::testing::UnitTest::GetInstance()->listeners().Append(new Watchdog);
  return true;
}();

}  // namespace jobpool
