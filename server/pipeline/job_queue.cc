#include "server/pipeline/job_queue.h"

#include <algorithm>
#include <utility>

namespace jobpool {

static_assert(kPriorities <= 16);  // fits the four bits of LiveJob::queue_key_

// One after the other: left to the destructors, a long chain would recurse.
JobQueue::~JobQueue() {
  while (Take({}) != nullptr) {
  }
}

void JobQueue::Push(std::shared_ptr<LiveJob> job, int priority) {
  Class& to = classes_[static_cast<size_t>(priority)];
  const auto kind = static_cast<size_t>(job->kind());
  Line& line = to.lines[kind];
  LiveJob* const added = job.get();
  const uint64_t number = next_number_++;
  added->queue_key_ = number << 4 | static_cast<uint64_t>(priority);
  added->previous_in_queue_ = line.back;
  (line.back != nullptr ? line.back->next_in_queue_ : line.front) = std::move(job);
  line.back = added;
  Block& block = line.blocks.try_emplace(line.blocks.end(), number / kBlock)->second;
  if (block.count++ == 0) block.first = added;
  ++line.size;
  ++size_;
  to.waiting.set(kind);
}

std::optional<JobQueue::Choice> JobQueue::Choose(const KindSet& held) const {
  int chosen = -1;
  for (int priority = kPriorities - 1; priority >= 0; --priority) {
    const Class& one = classes_[static_cast<size_t>(priority)];
    if ((one.waiting & ~held).none()) continue;
    if (chosen < 0) {
      chosen = priority;
      continue;
    }
    const int most = std::max(classes_[static_cast<size_t>(chosen)].passed_over, kMaxPassedOver - 1);
    if (one.passed_over > most) chosen = priority;
  }
  if (chosen < 0) return std::nullopt;
  const Class& of = classes_[static_cast<size_t>(chosen)];
  std::optional<size_t> first;
  for (size_t kind = 0; kind < kKindCount; ++kind) {
    if (!of.waiting[kind] || held[kind]) continue;
    if (!first.has_value() || Number(*of.lines[kind].front) < Number(*of.lines[*first].front)) first = kind;
  }
  return Choice{chosen, *first};
}

const LiveJob* JobQueue::Next(const KindSet& held) const {
  const std::optional<Choice> choice = Choose(held);
  if (!choice.has_value()) return nullptr;
  return classes_[static_cast<size_t>(choice->priority)].lines[choice->kind].front.get();
}

std::shared_ptr<LiveJob> JobQueue::Take(const KindSet& held) {
  const std::optional<Choice> choice = Choose(held);
  if (!choice.has_value()) return nullptr;
  for (int priority = 0; priority < kPriorities; ++priority) {
    Class& one = classes_[static_cast<size_t>(priority)];
    if (priority == choice->priority) {
      one.passed_over = 0;
    } else if ((one.waiting & ~held).any()) {
      ++one.passed_over;
    }
  }
  std::shared_ptr<LiveJob> job = classes_[static_cast<size_t>(choice->priority)].lines[choice->kind].front;
  Remove(*job);
  return job;
}

bool JobQueue::Remove(LiveJob& job) {
  LiveJob* const previous = std::exchange(job.previous_in_queue_, &job);
  if (previous == &job) return false;
  Class& from = classes_[static_cast<size_t>(Priority(job))];
  const auto kind = static_cast<size_t>(job.kind());
  Line& line = from.lines[kind];
  const uint64_t block_number = Number(job) / kBlock;
  std::shared_ptr<LiveJob> next = std::move(job.next_in_queue_);
  LiveJob* const after = next.get();

  const auto block = line.blocks.find(block_number);
  if (--block->second.count == 0) {
    line.blocks.erase(block);
  } else if (block->second.first == &job) {
    block->second.first = after;
  }
  --line.size;
  --size_;
  if (line.size == 0) from.waiting.reset(kind);
  if (from.waiting.none()) from.passed_over = 0;

  (after != nullptr ? after->previous_in_queue_ : line.back) = previous;
  // Last: this may drop the reference that keeps `job`.
  (previous != nullptr ? previous->next_in_queue_ : line.front) = std::move(next);
  return true;
}

size_t JobQueue::Line::Before(uint64_t number) const {
  size_t before = 0;
  for (const auto& [block_number, block] : blocks) {
    if (block_number < number / kBlock) {
      before += block.count;
      continue;
    }
    if (block_number > number / kBlock) break;
    const LiveJob* job = block.first;
    for (uint32_t i = 0; i < block.count && Number(*job) < number; ++i) {
      ++before;
      job = job->next_in_queue_.get();
    }
  }
  return before;
}

std::optional<size_t> JobQueue::Ahead(const LiveJob& job) const {
  if (job.previous_in_queue_ == &job) return std::nullopt;
  size_t ahead = 0;
  for (const Line& line : classes_[static_cast<size_t>(Priority(job))].lines) {
    ahead += line.Before(Number(job));
  }
  for (int priority = Priority(job) + 1; priority < kPriorities; ++priority) {
    for (const Line& line : classes_[static_cast<size_t>(priority)].lines) ahead += line.size;
  }
  return ahead;
}

absl::Time JobQueue::OldestReadyTime() const {
  absl::Time oldest = absl::InfiniteFuture();
  for (const Class& one : classes_) {
    for (const Line& line : one.lines) {
      if (line.front != nullptr) oldest = std::min(oldest, line.front->ReadyTime());
    }
  }
  return oldest;
}

}  // namespace jobpool
