#pragma once

#include <memory>

#include "server/workers/thread_registry.h"

namespace jobpool {

/// Threads that a library owns, and that run work for us: workers of no pool, in roll call from the first
/// time on until they end, or this does. Thread-safe.
class GuestThreads {
 public:
  /// `registry` outlives it.
  explicit GuestThreads(ThreadRegistry& registry);
  /// REQUIRES: none of them uses its entry any more.
  ~GuestThreads();
  GuestThreads(const GuestThreads&) = delete;
  GuestThreads& operator=(const GuestThreads&) = delete;

  /// Of the calling thread.
  RegistryEntry& Current();

 private:
  class Guest;
  struct List;
  class Here;

  ThreadRegistry& registry_;
  const std::shared_ptr<List> list_;  // a thread that ends looks whether it is still there
};

}  // namespace jobpool
