#include "server/service/call_memory.h"

#include "server/base/bounded_add.h"
#include "server/job/errors.h"

namespace jobpool {

absl::Status HeldMemory::Take(int64_t bytes) {
  const int64_t max_bytes = memory_.max_bytes_.load(std::memory_order_relaxed);
  if (!AddUpTo(memory_.held_bytes_, bytes, max_bytes)) {
    return TooManyCallsError("bytes are held by open calls", max_bytes);
  }
  bytes_ += bytes;
  return absl::OkStatus();
}

void HeldMemory::Release() {
  memory_.held_bytes_.fetch_sub(bytes_, std::memory_order_relaxed);
  bytes_ = 0;
}

}  // namespace jobpool
