#pragma once

#include <atomic>
#include <cstdint>

#include "absl/status/status.h"

namespace jobpool {

/// Bounds what open calls hold in memory together, so that callers who send much
/// and read little cannot grow it. Thread-safe.
class CallMemory {
 public:
  /// An open call of itself, about: gRPC's state and ours.
  static constexpr int64_t kOpenCallBytes = 16 << 10;
  /// Messages up to this size count as part of that.
  static constexpr int64_t kSmallMessageBytes = 4 << 10;

  explicit CallMemory(int64_t max_bytes = int64_t{1} << 30) : max_bytes_(max_bytes) {}

  void set_max_bytes(int64_t max_bytes) { max_bytes_.store(max_bytes, std::memory_order_relaxed); }

 private:
  friend class HeldMemory;

  std::atomic<int64_t> max_bytes_;
  std::atomic<int64_t> held_bytes_{0};
};

/// What one call holds; given back at its destruction. Not thread-safe.
class HeldMemory {
 public:
  /// `memory` outlives it.
  explicit HeldMemory(CallMemory& memory) : memory_(memory) {}
  ~HeldMemory() { memory_.held_bytes_.fetch_sub(bytes_, std::memory_order_relaxed); }
  HeldMemory(const HeldMemory&) = delete;
  HeldMemory& operator=(const HeldMemory&) = delete;

  /// RESOURCE_EXHAUSTED: open calls hold as much as they may; then nothing is taken.
  absl::Status Take(int64_t bytes);

  /// As Take, of a message of so many bytes.
  absl::Status TakeMessage(size_t bytes) {
    const auto size = static_cast<int64_t>(bytes);
    return size <= CallMemory::kSmallMessageBytes ? absl::OkStatus() : Take(size);
  }

  /// Gives some of what was taken back.
  void GiveBack(int64_t bytes) {
    memory_.held_bytes_.fetch_sub(bytes, std::memory_order_relaxed);
    bytes_ -= bytes;
  }

  /// Gives back what was taken so far.
  void Release();

 private:
  CallMemory& memory_;
  int64_t bytes_ = 0;
};

}  // namespace jobpool
