#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "server/base/mutex.h"
#include "server/workers/executor.h"

namespace jobpool {

/// Functions for an executor's workers, first in, first out: a task is taken when all
/// that came before it were. A worker takes one at a time, so that a task that takes long holds up
/// nobody else's. Bounded. Thread-safe. Destruction drops what was not taken.
class TaskQueue final : public WorkSource {
 public:
  explicit TaskQueue(int max_tasks);
  ~TaskQueue() override;
  TaskQueue(const TaskQueue&) = delete;
  TaskQueue& operator=(const TaskQueue&) = delete;

  /// Returns false, and leaves `task` as it is, if `max_tasks` wait already, or it is closed.
  /// The executor is to be notified afterwards.
  bool Push(std::function<void()>&& task);

  /// Pushes fail from now on; what is there can be taken.
  void Close();

  int max_tasks() const { return static_cast<int>(max_tasks_); }

  /// The worker shows as RUNNING from then on, until it idles.
  bool RunOne(RegisteredThread& worker) override;
  bool HasWork() const override;

 private:
  static constexpr uint64_t kSlots = 256;
  static constexpr uint64_t kClosed = uint64_t{1} << 63;  // in Block::reserved

  struct Slot {
    std::atomic<bool> full{false};  // its task may be taken
    std::function<void()> task;
  };

  // The tasks with the tickets `first` and the 255 after it.
  struct Block {
    alignas(64) std::atomic<uint64_t> reserved{0};  // the next ticket for a producer; with kClosed
    alignas(64) std::atomic<uint64_t> claimed{0};   // the next for a worker; never the same again
    std::atomic<uint64_t> first{0};
    std::atomic<Block*> next{nullptr};  // its first ticket is reserved
    alignas(64) std::array<Slot, kSlots> slots;
  };

  uint64_t Claimed() const;
  Block* EmptyBlock() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  bool PushBlock(Block* full, uint64_t ticket, std::function<void()>& task);
  void LeaveBlock(Block* done);

  const uint64_t max_tasks_;
  alignas(64) std::atomic<Block*> tail_;
  std::atomic<uint64_t> claimed_seen_{0};  // so many at least were claimed
  alignas(64) std::atomic<Block*> head_;

  alignas(64) Mutex mu_;  // to change tail_ or head_
  // Never freed, since who was slow may still look at one: as many as the most tasks took, and one a worker.
  std::vector<std::unique_ptr<Block>> blocks_ ABSL_GUARDED_BY(mu_);
  std::vector<Block*> spare_ ABSL_GUARDED_BY(mu_);  // the one left last is at the end
};

}  // namespace jobpool
