#include "server/service/call_memory.h"

#include "server/job/errors.h"

namespace jobpool {

absl::Status HeldMemory::Take(int64_t bytes) {
  const int64_t max_bytes = memory_.max_bytes_.load(std::memory_order_relaxed);
  if (memory_.held_bytes_.fetch_add(bytes, std::memory_order_relaxed) + bytes > max_bytes) {
    memory_.held_bytes_.fetch_sub(bytes, std::memory_order_relaxed);
    return TooManyCallsError("bytes are held by open calls", max_bytes);
  }
  bytes_ += bytes;
  return absl::OkStatus();
}

}  // namespace jobpool
