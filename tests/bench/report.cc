#include "tests/bench/report.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>

namespace jobpool::bench {
namespace {

std::string Format(const char* format, double value) {
  char text[64];
  std::snprintf(text, sizeof(text), format, value);
  return text;
}

// Three digits that say something.
std::string Human(double value) { return Format(value >= 100 ? "%.0f" : "%.3g", value); }

std::string Quoted(const std::string& text) {
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') quoted.push_back('\\');
    quoted.push_back(c);
  }
  return quoted + "\"";
}

void Append(const char* path, const std::string& line) {
  std::FILE* const file = std::fopen(path, "a");
  if (file == nullptr || std::fputs(line.c_str(), file) < 0 || std::fclose(file) != 0) {
    std::perror(path);
    std::exit(1);
  }
}

}  // namespace

double Median(std::vector<double> values) { return Percentile(std::move(values), 50); }

double Percentile(std::vector<double> values, int percent) {
  std::sort(values.begin(), values.end());
  const size_t at = values.size() * static_cast<size_t>(percent) / 100;
  return values[std::min(at, values.size() - 1)];
}

void Report(const Row& row, std::vector<double> runs) {
  std::sort(runs.begin(), runs.end());
  const double median = Median(runs);
  std::string against;
  if (!row.against.empty()) against = " / " + row.against;
  std::string target;
  std::string target_json = "null";
  if (row.target.bound != Target::Bound::kNone) {
    const bool at_least = row.target.bound == Target::Bound::kAtLeast;
    const std::string value = Format("%.10g", row.target.value);
    target = std::string(at_least ? ", at least " : ", at most ") + value + " wanted";
    target_json = std::string(at_least ? "{\"at_least\": " : "{\"at_most\": ") + value +
                  ", \"must\": " + (row.target.must ? "true}" : "false}");
  }
  std::printf("%s%s: %s %s (%s to %s)%s\n", row.what.c_str(), against.c_str(), Human(median).c_str(),
              row.unit, Human(runs.front()).c_str(), Human(runs.back()).c_str(), target.c_str());
  std::fflush(stdout);

  const char* const path = std::getenv("JOBPOOL_BENCH_ROWS");
  if (path == nullptr) return;
  Append(path, "{\"name\": " + Quoted(row.name) + ", \"what\": " + Quoted(row.what) +
                   ", \"against\": " + Quoted(row.against) + ", \"unit\": " + Quoted(row.unit) +
                   ", \"runs\": " + std::to_string(runs.size()) + ", \"median\": " + Format("%.6g", median) +
                   ", \"min\": " + Format("%.6g", runs.front()) +
                   ", \"max\": " + Format("%.6g", runs.back()) + ", \"target\": " + target_json + "}\n");
}

}  // namespace jobpool::bench
