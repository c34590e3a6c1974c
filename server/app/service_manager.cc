#include "server/app/service_manager.h"

#include <systemd/sd-daemon.h>
#include <time.h>

#include "absl/strings/str_cat.h"

namespace jobpool {

void NotifyReady() { sd_notify(0, "READY=1"); }

void NotifyReloading() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  const int64_t microseconds = int64_t{now.tv_sec} * 1'000'000 + now.tv_nsec / 1000;
  sd_notify(0, absl::StrCat("RELOADING=1\nMONOTONIC_USEC=", microseconds).c_str());
}

void NotifyStopping() { sd_notify(0, "STOPPING=1"); }

void Watchdog::Tick() {
  if (unanswered_ == nullptr) {
    unanswered_ = std::make_shared<std::atomic<int>>(2);
    timer_.At(timer_.Now(), [unanswered = unanswered_] { unanswered->fetch_sub(1); });
    pool_asked_ = false;
  }
  // Full of calls that wait it cannot even be asked: again at the next tick.
  if (!pool_asked_) pool_asked_ = pool_.Run([unanswered = unanswered_] { unanswered->fetch_sub(1); });
  if (unanswered_->load() > 0) return;
  sd_notify(0, "WATCHDOG=1");
  unanswered_.reset();
}

}  // namespace jobpool
