#pragma once

#include <array>
#include <bitset>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>

#include "absl/container/btree_map.h"
#include "server/job/bounds.h"
#include "server/job/work.h"
#include "server/pipeline/live_job.h"

namespace jobpool {

using KindSet = std::bitset<kKindCount>;

/// The jobs of a pool that wait for a worker, by priority. The highest priority
/// with a job comes first, but one whose jobs wait is passed over at most
/// kMaxPassedOver times in a row; where several are due, the one that was passed over
/// most. Hence each gets more than 1% of the starts, whatever the others do, and the
/// highest at least 87% of them: predictable, at constant cost, with no clock. Within
/// a priority, first in, first out.
///
/// Kinds can be held up: their jobs are then as if they were not there, and keep
/// their places. Push, Next and Take take constant time (Push and Remove a logarithm
/// of the queue's length over kBlock). Owns a reference to each job in it. Not
/// thread-safe: its owner guards it. A job is in one queue at most.
class JobQueue {
 public:
  static constexpr int kMaxPassedOver = 63;

  JobQueue() = default;
  ~JobQueue();
  JobQueue(const JobQueue&) = delete;
  JobQueue& operator=(const JobQueue&) = delete;

  /// REQUIRES: `job` is in no queue; `priority` is 0 to 9.
  void Push(std::shared_ptr<LiveJob> job, int priority);

  /// The next one that is of no kind in `held`, still in the queue; null: there is
  /// none.
  const LiveJob* Next(const KindSet& held) const;

  /// Takes that one out, and counts whom it passes over.
  std::shared_ptr<LiveJob> Take(const KindSet& held);

  /// Takes a job out. Returns false if `job` is not in the queue (any more).
  bool Remove(LiveJob& job);

  /// How many jobs would come before it if none came, and nobody were passed over
  /// too often: those of higher priorities and the ones before it in its own.
  /// Nothing if it is not in the queue. Takes time with the length of the queue over
  /// kBlock.
  std::optional<size_t> Ahead(const LiveJob& job) const;

  /// When the job that has been ready for longest became so; the infinite future if
  /// there is none.
  absl::Time OldestReadyTime() const;

  size_t size() const { return size_; }

 private:
  // Jobs are numbered as they come; those of one block of numbers are counted
  // together, so that places need not be counted one by one.
  static constexpr uint64_t kBlock = 1024;
  struct Block {
    uint32_t count = 0;
    const LiveJob* first = nullptr;
  };

  // The jobs of one priority and kind, linked through the jobs themselves.
  struct Line {
    std::shared_ptr<LiveJob> front;  // owns the next, which owns the one after it
    LiveJob* back = nullptr;
    size_t size = 0;
    absl::btree_map<uint64_t, Block> blocks;

    size_t Before(uint64_t number) const;
  };
  struct Class {
    std::array<Line, kKindCount> lines;
    KindSet waiting;  // the kinds whose line is not empty
    int passed_over = 0;
  };
  struct Choice {
    int priority;
    size_t kind;
  };

  static uint64_t Number(const LiveJob& job) { return job.queue_key_ >> 4; }
  static int Priority(const LiveJob& job) { return static_cast<int>(job.queue_key_ & 15); }

  std::optional<Choice> Choose(const KindSet& held) const;

  std::array<Class, kPriorities> classes_;
  size_t size_ = 0;
  uint64_t next_number_ = 0;
};

}  // namespace jobpool
