#include "tests/bench/closed_loop.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <vector>

namespace jobpool::bench {
namespace {

using Steady = std::chrono::steady_clock;

class Loop {
 public:
  Loop(const StartCall& start, int in_flight, double seconds)
      : start_(start), open_(in_flight), latencies_(static_cast<size_t>(in_flight)) {
    end_ =
        Steady::now() + std::chrono::duration_cast<Steady::duration>(std::chrono::duration<double>(seconds));
    for (auto& slot : latencies_) slot.reserve(1 << 16);
  }

  LoopResult Run() {
    const Steady::time_point begin = Steady::now();
    for (size_t slot = 0; slot < latencies_.size(); ++slot) Next(slot);
    std::unique_lock<std::mutex> lock(mu_);
    done_.wait(lock, [this] { return open_ == 0; });
    const double took = std::chrono::duration<double>(Steady::now() - begin).count();
    std::vector<double> all;
    for (const auto& slot : latencies_) all.insert(all.end(), slot.begin(), slot.end());
    std::sort(all.begin(), all.end());
    LoopResult result;
    result.per_second = static_cast<double>(all.size()) / took;
    result.median_seconds = all[all.size() / 2];
    result.p99_seconds = all[all.size() * 99 / 100];
    return result;
  }

 private:
  void Next(size_t slot) {
    const Steady::time_point begin = Steady::now();
    start_([this, slot, begin](bool ok) {
      if (!ok) {
        std::fprintf(stderr, "a call failed\n");
        std::_Exit(1);
      }
      const Steady::time_point now = Steady::now();
      latencies_[slot].push_back(std::chrono::duration<double>(now - begin).count());
      if (now < end_) {
        Next(slot);
        return;
      }
      const std::lock_guard<std::mutex> lock(mu_);
      if (--open_ == 0) done_.notify_one();
    });
  }

  const StartCall& start_;
  Steady::time_point end_;
  std::mutex mu_;
  std::condition_variable done_;
  int open_;
  std::vector<std::vector<double>> latencies_;  // [slot], written by the slot's call alone
};

}  // namespace

LoopResult RunClosedLoop(const StartCall& start, int in_flight, double seconds) {
  return Loop(start, in_flight, seconds).Run();
}

}  // namespace jobpool::bench
