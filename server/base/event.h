#pragma once

#include <sys/eventfd.h>
#include <unistd.h>

namespace jobpool {

/// What poll() can wait for beside a socket: its descriptor becomes readable,
/// and stays so, once it was raised. Thread-safe.
class Event {
 public:
  Event() : descriptor_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}
  ~Event() { close(descriptor_); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;

  void Raise() const { eventfd_write(descriptor_, 1); }

  /// Negative if no descriptor was to be had: such an event never comes.
  int descriptor() const { return descriptor_; }

 private:
  const int descriptor_;
};

}  // namespace jobpool
