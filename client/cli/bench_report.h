#pragma once

#include <string>

#include "client/cli/load.h"

// The figures of `bench`, for people and for programs.

namespace jobpool::cli {

/// What was measured.
struct BenchSetup {
  std::string work;    // `sleep 10ms`
  std::string method;  // RunJob or SubmitJob
  int64_t connections = 1;
  LoadPlan plan;
};

/// Lines for people.
std::string BenchText(const BenchSetup& setup, const LoadFigures& figures);

/// One JSON object; docs/operations.md tells its fields, which are always all there.
std::string BenchJson(const BenchSetup& setup, const LoadFigures& figures);

/// `3.0s  51233 answers  17077/s  12 failed  64 in flight`, in less than `columns` characters;
/// `recent_rate`: answers a second since the last one.
std::string BenchProgressLine(const LoadProgress& progress, double recent_rate, size_t columns);

}  // namespace jobpool::cli
