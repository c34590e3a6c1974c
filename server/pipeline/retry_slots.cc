#include "server/pipeline/retry_slots.h"

#include <algorithm>

namespace jobpool {
namespace {

constexpr absl::Duration kEarly = absl::Milliseconds(2);   // timers differ
constexpr absl::Duration kKept = absl::Milliseconds(500);  // how long one may be late
constexpr double kMinReturning = 1.0 / 16;
constexpr double kWeight = 1.0 / 64;  // of one caller in the average

}  // namespace

bool RetrySlots::Admit(uint64_t caller, MonotonicTime now, int64_t places, int64_t free, int64_t max,
                       absl::Duration interval) {
  DropOld(now);
  if (free < places) return false;
  const MonotonicTime due = Later(now, kEarly);
  if (UseSlot(caller, due, places) || UseSlot(0, due, places)) return true;
  // Kept: for those who are due, and who will be while a quarter of the queue drains; one of
  // these, if it comes too early, gives way only to those before it.
  const MonotonicTime horizon = Later(now, interval * (static_cast<double>(max) / 4));
  const Slot* const own = NextSlot(caller, horizon, places);
  const int64_t kept = std::min(own != nullptr ? PlacesBefore(*own) : PlacesUntil(horizon), max / 2);
  if (free - kept < places) return false;
  if (own != nullptr) UseSlot(caller, horizon, places);
  return true;
}

RetrySlots::Slot* RetrySlots::NextSlot(uint64_t caller, MonotonicTime until, int64_t places) {
  const auto own = by_caller_.find(caller);
  if (own == by_caller_.end()) return nullptr;
  Slot& slot = slots_[own->second.front() - first_number_];
  return slot.due <= until && slot.places >= places ? &slot : nullptr;
}

bool RetrySlots::UseSlot(uint64_t caller, MonotonicTime until, int64_t places) {
  Slot* const slot = NextSlot(caller, until, places);
  if (slot == nullptr) return false;
  slot->used = true;
  used_places_ += slot->places;
  ForgetNext(caller);
  Learn(/*returned=*/true);
  return true;
}

void RetrySlots::ForgetNext(uint64_t caller) {
  const auto own = by_caller_.find(caller);
  own->second.pop_front();
  if (own->second.empty()) by_caller_.erase(own);
}

int64_t RetrySlots::PlacesUntil(MonotonicTime until) const {
  const auto after =
      std::partition_point(slots_.begin(), slots_.end(), [&](const Slot& slot) { return slot.due <= until; });
  if (after != slots_.end()) return PlacesBefore(*after);
  return slots_.empty() ? 0 : places_ - slots_.front().places_before - used_places_;
}

// Less where slots behind it were used too early, which those before it have not waited for.
int64_t RetrySlots::PlacesBefore(const Slot& slot) const {
  return std::max<int64_t>(0, slot.places_before - slots_.front().places_before - used_places_);
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
      ForgetNext(oldest.caller);
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
