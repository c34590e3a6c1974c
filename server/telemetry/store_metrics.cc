#include "server/telemetry/store_metrics.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

namespace jobpool {
namespace {

// From a disk that caches to one that hangs.
const prometheus::Histogram::BucketBoundaries kCommitSeconds = {0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03,
                                                                0.1,    0.3,    1,     3,     10};
const prometheus::Histogram::BucketBoundaries kCommitJobs = {1, 3, 10, 30, 100, 300, 1000, 3000, 10000};

}  // namespace

StoreMetrics::StoreMetrics(prometheus::Registry& registry)
    : duration_(prometheus::BuildHistogram()
                    .Name("jobpool_store_commit_duration_seconds")
                    .Help("Time of one commit, with its fsync.")
                    .Register(registry)
                    .Add({}, kCommitSeconds)),
      size_(prometheus::BuildHistogram()
                .Name("jobpool_store_commit_size_jobs")
                .Help("Records of jobs that one commit kept.")
                .Register(registry)
                .Add({}, kCommitJobs)),
      failures_(prometheus::BuildCounter()
                    .Name("jobpool_store_failures_total")
                    .Help("Commits that failed, and looks that found the store not writable.")
                    .Register(registry)
                    .Add({})),
      writable_(prometheus::BuildGauge()
                    .Name("jobpool_store_writable")
                    .Help("1: the last commit was successful; 0: the store refuses.")
                    .Register(registry)
                    .Add({})) {
  writable_.Set(1);
}

void StoreMetrics::Committed(size_t jobs, absl::Duration took) {
  duration_.Observe(absl::ToDoubleSeconds(took));
  size_.Observe(static_cast<double>(jobs));
}

void StoreMetrics::Failed() { failures_.Increment(); }

void StoreMetrics::SetWritable(bool writable) { writable_.Set(writable ? 1 : 0); }

}  // namespace jobpool
