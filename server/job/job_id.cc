#include "server/job/job_id.h"

#include <algorithm>

namespace jobpool {
namespace {

constexpr int kCountBits = 22;
constexpr char kDigits[] = "0123456789abcdefghjkmnpqrstvwxyz";

// The finalizer of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014).
uint64_t Mix(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

}  // namespace

std::string JobIdMaker::Next(absl::Time now) {
  const uint64_t millis = static_cast<uint64_t>(std::max<int64_t>(0, absl::ToUnixMillis(now)));
  // Four bits of head room, so that counting does not run into the next millisecond.
  const uint64_t start = Mix(seed_ ^ millis) >> (64 - kCountBits + 4);
  const uint64_t fresh = (millis << kCountBits) | start;
  uint64_t last = last_.load(std::memory_order_relaxed);
  uint64_t value = 0;
  do {
    value = std::max(last + 1, fresh);
  } while (!last_.compare_exchange_weak(last, value, std::memory_order_relaxed));

  std::string id(15, 'j');
  id[14] = kDigits[seed_ & 31];
  for (int i = 13; i >= 1; --i, value >>= 5) id[static_cast<size_t>(i)] = kDigits[value & 31];
  return id;
}

}  // namespace jobpool
