#pragma once

#include <atomic>
#include <memory>

#include "absl/time/time.h"
#include "server/pipeline/timer.h"
#include "server/workers/service_pool.h"

namespace jobpool {

// What systemd is told (sd_notify(3)), if it has started us; else nothing happens.
// Of the main thread.

void NotifyReady();
void NotifyReloading();
void NotifyStopping();

/// Tells systemd's watchdog that we live, as long as we do: when the threads that
/// all else waits for, the timer's and those of role SERVICE, have answered since
/// the last time. Used by one thread.
class Watchdog {
 public:
  /// Both outlive it.
  Watchdog(Timer& timer, ServicePool& pool) : timer_(timer), pool_(pool) {}

  /// Called once a second, about.
  void Tick();

 private:
  Timer& timer_;
  ServicePool& pool_;
  std::shared_ptr<std::atomic<int>> unanswered_;  // null: nobody was asked
  bool pool_asked_ = false;
};

}  // namespace jobpool
