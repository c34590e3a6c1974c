#pragma once

#include <chrono>
#include <functional>
#include <thread>

#include <gtest/gtest.h>

#include "server/base/mutex.h"

namespace jobpool {

/// How long a test waits for what should come at once, before it says that it
/// did not. Long: the machine may be slow. Nothing is right because of it.
inline constexpr std::chrono::seconds kTestPatience{15};

/// A door that opens once and stays open. Thread-safe.
class Gate {
 public:
  void Open() {
    MutexLock lock(mu_);
    open_ = true;
    opened_cv_.NotifyAll();
  }

  bool IsOpen() const {
    MutexLock lock(mu_);
    return open_;
  }

  /// Waits until it is open. Returns false, and fails the test, if it never is.
  bool Await() const {
    const auto deadline = std::chrono::steady_clock::now() + kTestPatience;
    MutexLock lock(mu_);
    while (!open_) {
      if (std::chrono::steady_clock::now() >= deadline) {
        ADD_FAILURE() << "a gate was never opened";
        return false;
      }
      opened_cv_.WaitUntil(mu_, deadline);
    }
    return true;
  }

 private:
  mutable Mutex mu_;
  mutable CondVar opened_cv_;
  bool open_ ABSL_GUARDED_BY(mu_) = false;
};

/// Looks again and again whether `holds`. Only for what announces itself to
/// nobody: where there is something to wait for, wait for that.
inline ::testing::AssertionResult Eventually(const std::function<bool()>& holds) {
  const auto deadline = std::chrono::steady_clock::now() + kTestPatience;
  while (!holds()) {
    if (std::chrono::steady_clock::now() >= deadline)
      return ::testing::AssertionFailure() << "never became so";
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return ::testing::AssertionSuccess();
}

}  // namespace jobpool
