#include "server/pipeline/job_queue.h"

#include <utility>

namespace jobpool {

// One after the other: left to the destructors, a long chain would recurse.
JobQueue::~JobQueue() {
  while (Pop() != nullptr) {
  }
}

void JobQueue::Push(std::shared_ptr<LiveJob> job) {
  LiveJob* const added = job.get();
  added->previous_in_queue_ = back_;
  (back_ != nullptr ? back_->next_in_queue_ : front_) = std::move(job);
  back_ = added;
  ++size_;
}

std::shared_ptr<LiveJob> JobQueue::Pop() {
  std::shared_ptr<LiveJob> job = front_;
  if (job != nullptr) Remove(*job);
  return job;
}

bool JobQueue::Remove(LiveJob& job) {
  LiveJob* const previous = std::exchange(job.previous_in_queue_, &job);
  if (previous == &job) return false;
  std::shared_ptr<LiveJob> next = std::move(job.next_in_queue_);
  LiveJob* const after = next.get();
  (after != nullptr ? after->previous_in_queue_ : back_) = previous;
  // Last: this may drop the reference that keeps `job`.
  (previous != nullptr ? previous->next_in_queue_ : front_) = std::move(next);
  --size_;
  return true;
}

}  // namespace jobpool
