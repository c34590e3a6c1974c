#include "server/job/work.h"

namespace jobpool {

absl::string_view KindName(Kind kind) {
  switch (kind) {
    case Kind::kSleep:
      return "sleep";
    case Kind::kPrimes:
      return "primes";
    case Kind::kFibonacci:
      return "fibonacci";
    case Kind::kPi:
      return "pi";
    case Kind::kHash:
      return "hash";
    case Kind::kSpin:
      return "spin";
    case Kind::kNoop:
      return "noop";
  }
  return "";
}

}  // namespace jobpool
