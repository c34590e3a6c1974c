#pragma once

#include <atomic>
#include <cstdint>

namespace jobpool {

/// Adds `amount` to `counter` unless that would pass `max`; an amount of 0 or less
/// always. Returns whether it did. Never shows a sum that is not so, by which others
/// would be refused.
inline bool AddUpTo(std::atomic<int64_t>& counter, int64_t amount, int64_t max) {
  int64_t before = counter.load();
  do {
    if (amount > 0 && before > max - amount) return false;
  } while (!counter.compare_exchange_weak(before, before + amount));
  return true;
}

}  // namespace jobpool
