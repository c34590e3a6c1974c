#pragma once

#include <chrono>
#include <string>
#include <vector>

namespace jobpool::bench {

/// What a figure is to be. Never asserted: a figure that falls short is told.
struct Target {
  enum class Bound : unsigned char { kNone, kAtLeast, kAtMost };
  Bound bound = Bound::kNone;
  double value = 0;
  bool must = false;  // one of those that have to be reached
};
inline Target AtLeast(double value) { return {Target::Bound::kAtLeast, value}; }
inline Target AtMost(double value) { return {Target::Bound::kAtMost, value}; }
inline Target MustBeAtLeast(double value) { return {Target::Bound::kAtLeast, value, true}; }

struct Row {
  std::string name;     // for scripts/bench_report: one word, unlike all others
  std::string what;     // what was measured
  std::string against;  // what the ratio is to; empty: it is none
  const char* unit;     // `ratio`, `/s`, `s`, `ms`, `us`, `ns`, `bytes`
  Target target = Target{};
};

/// Prints the median, the least and the most of `runs`, which is not empty, and appends
/// them as a line of JSON to the file that JOBPOOL_BENCH_ROWS names, if it does.
void Report(const Row& row, std::vector<double> runs);

/// REQUIRES: `values` is not empty.
double Median(std::vector<double> values);
/// Above as many of a hundred values as `percent` says.
double Percentile(std::vector<double> values, int percent);

/// Seconds since it was made.
class Stopwatch {
 public:
  Stopwatch() : began_(std::chrono::steady_clock::now()) {}
  double Seconds() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - began_).count();
  }

 private:
  std::chrono::steady_clock::time_point began_;
};

}  // namespace jobpool::bench
