#pragma once

#include <atomic>
#include <cstdint>
#include <string>

#include "absl/time/time.h"

namespace jobpool {

/// Makes job ids: 15 characters `[a-z0-9]`, the first a letter, whose byte order
/// is the order of their making. Thread-safe.
///
/// An id is `j` and 69 bits in Crockford's base 32 (whose digits are in the
/// order of ASCII): 42 bits of Unix milliseconds, 22 bits that count within the
/// millisecond from a pseudo-random start, and 5 that differ between makers. At
/// 15 bytes it fits into std::string without an allocation. Two makers can, with
/// small odds, make the same id: whoever inserts it must look.
class JobIdMaker {
 public:
  /// `seed`: random, one for each maker.
  explicit JobIdMaker(uint64_t seed) : seed_(seed) {}

  /// Larger than every id this maker made before, also when the clock goes back.
  std::string Next(absl::Time now);

 private:
  const uint64_t seed_;
  std::atomic<uint64_t> last_{0};
};

}  // namespace jobpool
