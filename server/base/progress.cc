#include "server/base/progress.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace jobpool {

void Progress::Set(double ratio, std::string message) {
  {
    MutexLock lock(mu_);
    const double before = value_ ? value_->ratio : 0;
    if (std::isnan(ratio)) ratio = before;
    value_ = Value{std::clamp(ratio, before, 1.0), std::move(message), value_ ? value_->version + 1 : 1};
  }
  if (observer_) observer_();
}

std::optional<Progress::Value> Progress::Get() const {
  MutexLock lock(mu_);
  return value_;
}

}  // namespace jobpool
