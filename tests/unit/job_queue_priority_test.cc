// The order over priorities and kinds, against a slow and obviously right model.

#include <algorithm>
#include <array>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "server/pipeline/job_queue.h"
#include "tests/support/job_builder.h"

namespace jobpool {
namespace {

using Job = std::shared_ptr<LiveJob>;

Job MakeOf(Kind kind) {
  JobRecord record = MakeRecord("j");
  if (kind == Kind::kNoop) record.work = NoopWork{};
  if (kind == Kind::kSpin) record.work = SpinWork{};
  return std::make_shared<LiveJob>(std::move(record));
}

TEST(JobQueuePriorityTest, TheHighestComesFirst) {
  JobQueue queue;
  const Job low = MakeJob("low");
  const Job high = MakeJob("high");
  const Job middle = MakeJob("middle");
  queue.Push(low, 0);
  queue.Push(high, 9);
  queue.Push(middle, 4);
  for (const Job& job : {high, middle, low}) EXPECT_EQ(queue.Take({}), job);
}

// The promise of the proto: the lowest gets more than 1% of the starts while the highest alone could fill the
// pool, also where all others wait too.
TEST(JobQueuePriorityTest, NobodyStarves) {
  for (const bool all : {false, true}) {
    JobQueue queue;
    std::map<LiveJob*, int> priority_of;
    for (int priority = 0; priority < kPriorities; ++priority) {
      if (!all && priority != 0 && priority != 9) continue;
      const Job job = MakeJob("j");
      priority_of[job.get()] = priority;
      queue.Push(job, priority);
    }
    constexpr int kStarts = 10'000;
    std::array<int, kPriorities> taken{};
    for (int i = 0; i < kStarts; ++i) {  // each comes again at once
      const Job job = queue.Take({});
      const int priority = priority_of[job.get()];
      ++taken[static_cast<size_t>(priority)];
      queue.Push(job, priority);
    }
    EXPECT_GT(taken[0], kStarts / 100);
    EXPECT_GT(taken[9], kStarts * 85 / 100);
  }
}

class Model {
 public:
  struct Waiting {
    Job job;
    int priority;
  };

  void Push(Job job, int priority) { waiting_.push_back({std::move(job), priority}); }

  std::optional<size_t> Next(const KindSet& held) const {
    std::optional<int> chosen;
    for (int priority = kPriorities - 1; priority >= 0; --priority) {
      if (!First(priority, held).has_value()) continue;
      if (!chosen.has_value()) {
        chosen = priority;
        continue;
      }
      const int most = passed_over_[static_cast<size_t>(*chosen)];
      const int own = passed_over_[static_cast<size_t>(priority)];
      const bool chosen_is_due = most >= JobQueue::kMaxPassedOver;
      if (own >= JobQueue::kMaxPassedOver && (!chosen_is_due || own > most)) chosen = priority;
    }
    return chosen.has_value() ? First(*chosen, held) : std::nullopt;
  }

  Job Take(const KindSet& held) {
    const std::optional<size_t> next = Next(held);
    if (!next.has_value()) return nullptr;
    const Waiting taken = waiting_[*next];
    for (int priority = 0; priority < kPriorities; ++priority) {
      int& count = passed_over_[static_cast<size_t>(priority)];
      if (priority == taken.priority) {
        count = 0;
      } else if (First(priority, held).has_value()) {
        ++count;
      }
    }
    Erase(*next);
    return taken.job;
  }

  bool Remove(const Job& job) {
    for (size_t i = 0; i < waiting_.size(); ++i) {
      if (waiting_[i].job != job) continue;
      Erase(i);
      return true;
    }
    return false;
  }

  size_t Ahead(size_t at) const {
    return static_cast<size_t>(std::count_if(waiting_.begin(), waiting_.end(), [&](const Waiting& other) {
      return other.priority > waiting_[at].priority ||
             (other.priority == waiting_[at].priority && &other < &waiting_[at]);
    }));
  }

  const std::vector<Waiting>& waiting() const { return waiting_; }

 private:
  std::optional<size_t> First(int priority, const KindSet& held) const {
    for (size_t i = 0; i < waiting_.size(); ++i) {
      const Waiting& one = waiting_[i];
      if (one.priority == priority && !held[static_cast<size_t>(one.job->kind())]) return i;
    }
    return std::nullopt;
  }

  void Erase(size_t at) {
    const int priority = waiting_[at].priority;
    waiting_.erase(waiting_.begin() + static_cast<std::ptrdiff_t>(at));
    if (!First(priority, {}).has_value()) passed_over_[static_cast<size_t>(priority)] = 0;
  }

  std::vector<Waiting> waiting_;  // in the order of their coming
  std::array<int, kPriorities> passed_over_{};
};

TEST(JobQueuePriorityTest, BehavesAsItsModel) {
  for (unsigned seed = 0; seed < 40; ++seed) {
    std::mt19937 random(seed);
    JobQueue queue;
    Model model;
    KindSet held;
    const int priorities = seed % 3 == 0 ? 2 : kPriorities;
    for (int step = 0; step < 3000; ++step) {
      const auto choice = random() % 20;
      if (choice < 9) {
        const Kind kind = std::array{Kind::kSleep, Kind::kNoop, Kind::kSpin}[random() % 3];
        const Job job = MakeOf(kind);
        const int priority = static_cast<int>(random() % static_cast<unsigned>(priorities));
        queue.Push(job, priority);
        model.Push(job, priority);
      } else if (choice < 17) {
        const std::optional<size_t> next = model.Next(held);
        ASSERT_EQ(queue.Next(held), next.has_value() ? model.waiting()[*next].job.get() : nullptr);
        ASSERT_EQ(queue.Take(held), model.Take(held)) << "seed " << seed << " step " << step;
      } else if (choice < 18 && !model.waiting().empty()) {
        const Job job = model.waiting()[random() % model.waiting().size()].job;
        ASSERT_TRUE(queue.Remove(*job));
        ASSERT_TRUE(model.Remove(job));
        ASSERT_FALSE(queue.Ahead(*job).has_value());
      } else if (choice < 19 && !model.waiting().empty()) {
        const size_t at = random() % model.waiting().size();
        ASSERT_EQ(queue.Ahead(*model.waiting()[at].job), model.Ahead(at))
            << "seed " << seed << " step " << step;
      } else {
        held.flip(static_cast<size_t>(std::array{Kind::kSleep, Kind::kNoop, Kind::kSpin}[random() % 3]));
      }
      ASSERT_EQ(queue.size(), model.waiting().size());
    }
  }
}

// Places over many blocks, of which some have gaps.
TEST(JobQueuePriorityTest, KnowsThePlacesOfALongQueue) {
  std::mt19937 random(7);
  JobQueue queue;
  std::vector<Job> jobs;
  for (int i = 0; i < 20'000; ++i) {
    jobs.push_back(MakeOf(i % 3 == 0 ? Kind::kNoop : Kind::kSleep));
    queue.Push(jobs.back(), 4);
  }
  std::vector<Job> left;
  for (const Job& job : jobs) {
    if (random() % 3 == 0) {
      queue.Remove(*job);
    } else {
      left.push_back(job);
    }
  }
  for (size_t i = 0; i < left.size(); i += 97) EXPECT_EQ(queue.Ahead(*left[i]), i);
}

TEST(JobQueuePriorityTest, KnowsTheOldestReadyTime) {
  JobQueue queue;
  EXPECT_EQ(queue.OldestReadyTime(), absl::InfiniteFuture());
  const Job older = MakeJob("older", 100);
  const Job newer = MakeJob("newer", 200);
  queue.Push(newer, 9);
  queue.Push(older, 0);
  EXPECT_EQ(queue.OldestReadyTime(), absl::FromUnixSeconds(100));
  queue.Remove(*older);
  EXPECT_EQ(queue.OldestReadyTime(), absl::FromUnixSeconds(200));
}

}  // namespace
}  // namespace jobpool
