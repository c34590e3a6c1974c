#pragma once

#include <cstdint>
#include <deque>

#include "absl/container/flat_hash_map.h"
#include "absl/time/time.h"
#include "server/base/clock.h"

namespace jobpool {

/// Tells callers that a full queue has refused when to come again, each at a time of
/// its own, one after the other at the rate at which the queue drains, and keeps room
/// for them then: who waits as long as it was told is not overtaken by those who come
/// for the first time.
///
/// Callers are known by a number; 0 stands for all who have none. Room is kept for half
/// a second. How many come back is measured, and as many more are told the same time.
/// Logarithmic time; at most kMaxSlots are remembered. Not thread-safe.
class RetrySlots {
 public:
  static constexpr size_t kMaxSlots = 100'000;
  static constexpr absl::Duration kMinDelay = absl::Milliseconds(100);  // that nobody hammers
  static constexpr absl::Duration kMaxDelay = absl::Minutes(5);

  /// Whether a caller gets `places` of the `free` ones; its slot, if one is due, is
  /// then used up. `max`: places that there are; at most half of them are kept for
  /// others. `interval`: between two jobs' leaving the queue.
  bool Admit(uint64_t caller, MonotonicTime now, int64_t places, int64_t free, int64_t max,
             absl::Duration interval);

  /// Gives a refused caller a slot. Returns when it is due, from `now`, within kMinDelay and
  /// kMaxDelay.
  absl::Duration Refuse(uint64_t caller, MonotonicTime now, int64_t places, absl::Duration interval);

  /// Whether nobody is expected.
  bool empty() const { return slots_.empty(); }

 private:
  struct Slot {
    MonotonicTime due;
    uint64_t caller = 0;
    int64_t places = 0;
    int64_t places_before = 0;  // of all slots before it, ever
    bool used = false;
  };

  /// The caller's first slot, if that is due by then, and of so many places; not null where
  /// UseSlot is true.
  Slot* NextSlot(uint64_t caller, MonotonicTime until, int64_t places);
  bool UseSlot(uint64_t caller, MonotonicTime until, int64_t places);
  void ForgetNext(uint64_t caller);
  /// Places of slots that are not used.
  int64_t PlacesUntil(MonotonicTime until) const;
  int64_t PlacesBefore(const Slot& slot) const;
  void DropOld(MonotonicTime now);
  void Learn(bool returned);

  std::deque<Slot> slots_;  // in the order of their times
  uint64_t first_number_ = 0;
  // The numbers of each caller's slots that are not used, in their order.
  absl::flat_hash_map<uint64_t, std::deque<uint64_t>> by_caller_;
  MonotonicTime last_due_;
  int64_t places_ = 0;       // of all slots ever
  int64_t used_places_ = 0;  // of the used ones among slots_
  double returning_ = 1;     // the share of callers that use their slots: a moving average
};

}  // namespace jobpool
