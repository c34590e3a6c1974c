#include "server/job/work.h"

namespace jobpool {

size_t HeapBytes(const Work& work) {
  const auto* noop = std::get_if<NoopWork>(&work);
  return noop != nullptr && noop->payload != nullptr ? noop->payload->size() : 0;
}

size_t HeapBytes(const Result& result) {
  if (const auto* fibonacci = std::get_if<FibonacciResult>(&result)) return fibonacci->digits.size();
  if (const auto* pi = std::get_if<PiResult>(&result)) return pi->digits.size();
  return 0;  // that of noop is its work's
}

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

std::optional<Kind> FindKind(absl::string_view name) {
  for (size_t i = 0; i < kKindCount; ++i) {
    if (KindName(static_cast<Kind>(i)) == name) return static_cast<Kind>(i);
  }
  return std::nullopt;
}

}  // namespace jobpool
