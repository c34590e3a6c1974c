#pragma once

#include <cstddef>
#include <memory>

#include "server/pipeline/live_job.h"

namespace jobpool {

/// The jobs of a pool that wait for a worker: first in, first out. All in
/// constant time and without allocation, the links are in the jobs. Owns a
/// reference to each job in it. Not thread-safe: its owner guards it. A job is in
/// one queue at most.
class JobQueue {
 public:
  JobQueue() = default;
  ~JobQueue();
  JobQueue(const JobQueue&) = delete;
  JobQueue& operator=(const JobQueue&) = delete;

  /// REQUIRES: `job` is in no queue.
  void Push(std::shared_ptr<LiveJob> job);

  /// The job that waits longest; null if none does.
  std::shared_ptr<LiveJob> Pop();

  /// Returns false if `job` is not in the queue (any more).
  bool Remove(LiveJob& job);

  /// The one that Pop would return, still in the queue; null if there is none.
  const LiveJob* front() const { return front_.get(); }
  size_t size() const { return size_; }

 private:
  std::shared_ptr<LiveJob> front_;  // owns the next, which owns the one after it
  LiveJob* back_ = nullptr;
  size_t size_ = 0;
};

}  // namespace jobpool
