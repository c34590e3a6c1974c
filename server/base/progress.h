#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>

#include "server/base/mutex.h"

namespace jobpool {

/// How far a piece of work is: written by the thread that does it, read by
/// whoever looks. Thread-safe.
class Progress {
 public:
  struct Value {
    double ratio = 0;  // 0 to 1
    std::string message;
    uint64_t version = 0;  // counts what the work has said
  };

  /// `observer` is called after each Set, on the thread that sets. REQUIRES: called
  /// before the work begins.
  void set_observer(std::function<void()> observer) { observer_ = std::move(observer); }

  /// `ratio` is brought into 0 to 1 and never goes down.
  void Set(double ratio, std::string message);

  /// Unset until the work has said something.
  std::optional<Value> Get() const;

 private:
  std::function<void()> observer_;
  mutable Mutex mu_;
  std::optional<Value> value_ ABSL_GUARDED_BY(mu_);
};

}  // namespace jobpool
