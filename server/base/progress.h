#pragma once

#include <optional>
#include <string>

#include "server/base/mutex.h"

namespace jobpool {

/// How far a piece of work is: written by the thread that does it, read by
/// whoever looks. Thread-safe.
class Progress {
 public:
  struct Value {
    double ratio = 0;  // 0 to 1
    std::string message;
  };

  /// `ratio` is brought into 0 to 1 and never goes down.
  void Set(double ratio, std::string message);

  /// Unset until the work has said something.
  std::optional<Value> Get() const;

 private:
  mutable Mutex mu_;
  std::optional<Value> value_ ABSL_GUARDED_BY(mu_);
};

}  // namespace jobpool
