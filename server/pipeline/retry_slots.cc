#include "server/pipeline/retry_slots.h"

#include <algorithm>

namespace jobpool {
namespace {

constexpr absl::Duration kMinDelay = absl::Milliseconds(100);  // that nobody hammers
constexpr absl::Duration kMaxDelay = absl::Minutes(5);
constexpr absl::Duration kEarly = absl::Milliseconds(2);   // timers differ
constexpr absl::Duration kKept = absl::Milliseconds(500);  // how long one may be late
constexpr double kMinReturning = 1.0 / 16;
constexpr double kWeight = 1.0 / 64;  // of one caller in the average

}  // namespace

bool RetrySlots::Admit(uint64_t caller, MonotonicTime now, int64_t places, int64_t free, int64_t max,
                       absl::Duration interval) {
  DropOld(now);
  if (free < places) return false;
  if (UseSlot(caller, now) || UseSlot(0, now)) return true;
  // Kept: for those who are due, and who will be while a quarter of the queue drains.
  const int64_t kept = PlacesUntil(Later(now, interval * (static_cast<double>(max) / 4)));
  return free - std::min(kept, max / 2) >= places;
}

bool RetrySlots::UseSlot(uint64_t caller, MonotonicTime now) {
  const auto own = by_caller_.find(caller);
  if (own == by_caller_.end() || At(own->second.front()).due > Later(now, kEarly)) return false;
  Slot& slot = At(own->second.front());
  slot.used = true;
  used_places_ += slot.places;
  own->second.pop_front();
  if (own->second.empty()) by_caller_.erase(own);
  Learn(/*returned=*/true);
  return true;
}

// What is used is due, and so before any such time.
int64_t RetrySlots::PlacesUntil(MonotonicTime until) const {
  if (slots_.empty()) return 0;
  const auto after =
      std::partition_point(slots_.begin(), slots_.end(), [&](const Slot& slot) { return slot.due <= until; });
  const int64_t before = after != slots_.end() ? after->places_before : places_;
  return std::max<int64_t>(0, before - slots_.front().places_before - used_places_);
}

absl::Duration RetrySlots::Refuse(uint64_t caller, MonotonicTime now, int64_t places,
                                  absl::Duration interval) {
  const absl::Duration step = interval * (static_cast<double>(places) * std::max(returning_, kMinReturning));
  MonotonicTime due = Later(std::max(last_due_, now), step);
  due = std::clamp(due, Later(now, kMinDelay), Later(now, kMaxDelay));
  if (slots_.size() < kMaxSlots) {
    // In their order: clamped, one could come before the last.
    if (!slots_.empty()) due = std::max(due, slots_.back().due);
    by_caller_[caller].push_back(first_number_ + slots_.size());
    slots_.push_back({due, caller, places, places_, false});
    places_ += places;
  }
  last_due_ = due;
  return absl::FromChrono(due - now);
}

void RetrySlots::DropOld(MonotonicTime now) {
  while (!slots_.empty() && (slots_.front().used || Later(slots_.front().due, kKept) < now)) {
    const Slot& oldest = slots_.front();
    if (!oldest.used) {
      const auto own = by_caller_.find(oldest.caller);
      own->second.pop_front();
      if (own->second.empty()) by_caller_.erase(own);
      Learn(/*returned=*/false);
    } else {
      used_places_ -= oldest.places;
    }
    slots_.pop_front();
    ++first_number_;
  }
}

void RetrySlots::Learn(bool returned) { returning_ += ((returned ? 1 : 0) - returning_) * kWeight; }

}  // namespace jobpool
