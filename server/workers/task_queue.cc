#include "server/workers/task_queue.h"

#include <algorithm>
#include <thread>
#include <utility>

#include "server/workers/thread_registry.h"

namespace jobpool {
namespace {

// Looks for a task whose producer is between its reservation and its end, some 5 ns, before
// the worker lets others run.
constexpr int kLooks = 16;

}  // namespace

// Tickets are given by compare-and-swap, to producers in `reserved`, to workers in `claimed`, each with a
// cache line of its own; a lock is taken once a block. A push takes 10 ns so, and a take 6, on one thread;
// with a lock for each 14 and 13, through a mutex and a deque 13 and 15.
//
// A ticket is never given again, also where its block is: who has read `claimed`, and finds it unchanged
// later or swaps it, has looked at one life of the block. That it was the head then, head_ says, read after
// it.
//
// What is reserved counts as work, for the Dekker in thread_pool.cc: a producer reserves, then looks for
// idle workers; a worker is idle, then looks for what is reserved. So the task itself is made known by a
// plain release, and the worker that has come too early waits for that.

TaskQueue::TaskQueue(int max_tasks) : max_tasks_(static_cast<uint64_t>(max_tasks)) {
  MutexLock lock(mu_);
  Block* first = EmptyBlock();
  tail_.store(first);
  head_.store(first);
}

TaskQueue::~TaskQueue() = default;

bool TaskQueue::Push(std::function<void()>&& task) {
  for (;;) {
    Block* block = tail_.load();
    uint64_t ticket = block->reserved.load();
    if ((ticket & kClosed) != 0) return false;
    const uint64_t first = block->first.load();
    if (tail_.load() != block) continue;
    if (ticket - claimed_seen_.load(std::memory_order_relaxed) >= max_tasks_) {
      const uint64_t claimed = Claimed();
      claimed_seen_.store(claimed, std::memory_order_relaxed);
      // Others may have pushed, and workers taken those, since `ticket` was read.
      if (ticket >= claimed && ticket - claimed >= max_tasks_) return false;
      if (ticket < claimed) continue;
    }
    if (ticket - first >= kSlots) {
      if (PushBlock(block, ticket, task)) return true;
    } else if (block->reserved.compare_exchange_weak(ticket, ticket + 1)) {
      Slot& slot = block->slots[ticket % kSlots];
      slot.task = std::move(task);
      slot.full.store(true, std::memory_order_release);
      return true;
    }
  }
}

// Takes `task`, or returns false: `full` is not the last, or not full, or closed, or `ticket` was given.
bool TaskQueue::PushBlock(Block* full, uint64_t ticket, std::function<void()>& task) {
  MutexLock lock(mu_);
  if (tail_.load() != full || full->reserved.load() != ticket) return false;
  if (ticket - full->first.load() != kSlots) return false;
  Block* block = EmptyBlock();
  block->next.store(nullptr);
  block->first.store(ticket);
  block->claimed.store(ticket);
  block->reserved.store(ticket + 1);
  block->slots[0].task = std::move(task);
  block->slots[0].full.store(true, std::memory_order_release);
  full->next.store(block);
  tail_.store(block);
  return true;
}

// A worker may have claimed the last task of a block and not have taken it out.
TaskQueue::Block* TaskQueue::EmptyBlock() {
  const auto empty = std::find_if(spare_.rbegin(), spare_.rend(), [](const Block* block) {
    return std::none_of(block->slots.begin(), block->slots.end(),
                        [](const Slot& slot) { return slot.full.load(std::memory_order_acquire); });
  });
  if (empty == spare_.rend()) return blocks_.emplace_back(std::make_unique<Block>()).get();
  Block* block = *empty;
  spare_.erase(std::next(empty).base());
  return block;
}

void TaskQueue::Close() {
  MutexLock lock(mu_);
  tail_.load()->reserved.fetch_or(kClosed);
}

uint64_t TaskQueue::Claimed() const {
  for (;;) {
    const Block* block = head_.load();
    const uint64_t ticket = block->claimed.load();
    if (head_.load() == block) return ticket;
  }
}

bool TaskQueue::HasWork() const {
  for (;;) {
    const Block* block = head_.load();
    const uint64_t ticket = block->claimed.load();
    const bool has_work = ticket - block->first.load() == kSlots
                              ? block->next.load() != nullptr
                              : (block->reserved.load() & ~kClosed) != ticket;
    if (block->claimed.load() == ticket && head_.load() == block) return has_work;
  }
}

bool TaskQueue::RunOne(RegisteredThread& worker) {
  for (int looks = 0;; ++looks) {
    Block* block = head_.load();
    uint64_t ticket = block->claimed.load();
    const uint64_t first = block->first.load();
    if (head_.load() != block) continue;
    Slot& slot = block->slots[ticket % kSlots];
    if (ticket - first < kSlots && slot.full.load(std::memory_order_acquire)) {
      if (!block->claimed.compare_exchange_weak(ticket, ticket + 1)) continue;
      const std::function<void()> task = std::move(slot.task);
      slot.full.store(false, std::memory_order_release);
      worker.SetRunning(true);
      task();
      return true;
    }
    if (!HasWork()) return false;
    if (ticket - first >= kSlots) {
      LeaveBlock(block);
    } else if (looks >= kLooks) {
      std::this_thread::yield();
    }
  }
}

// Makes the block after `done` the head, if that is it and has been claimed.
void TaskQueue::LeaveBlock(Block* done) {
  MutexLock lock(mu_);
  Block* next = done->next.load();
  if (head_.load() != done || next == nullptr || done->claimed.load() - done->first.load() != kSlots) return;
  head_.store(next);
  spare_.push_back(done);
}

}  // namespace jobpool
