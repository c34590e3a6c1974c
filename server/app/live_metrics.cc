#include "server/app/live_metrics.h"

#include <algorithm>
#include <map>
#include <string>
#include <tuple>
#include <utility>

#include "absl/strings/ascii.h"
#include "server/telemetry/process_metrics.h"

namespace jobpool {
namespace {

using prometheus::MetricFamily;
using prometheus::MetricType;

MetricFamily Gauges(const char* name, const char* help) {
  MetricFamily family;
  family.name = name;
  family.help = help;
  family.type = MetricType::Gauge;
  return family;
}

void AddGauge(MetricFamily& family, const std::vector<std::pair<std::string, std::string>>& labels,
              double value) {
  prometheus::ClientMetric metric;
  for (const auto& [name, text] : labels) metric.label.push_back({name, text});
  metric.gauge.value = value;
  family.metric.push_back(std::move(metric));
}

const char* PoolStateName(PoolState state) {
  switch (state) {
    case PoolState::kActive:
      return "active";
    case PoolState::kPaused:
      return "paused";
    case PoolState::kDraining:
      return "draining";
  }
  return "";
}

double Timestamp(absl::Time time) { return absl::ToDoubleSeconds(time - absl::UnixEpoch()); }

MetricFamily ThreadGauges(const RollCall& roll_call, const PoolSet& pools) {
  std::map<std::tuple<std::string, std::string, std::string>, int> counts;
  // Known series exist from the start.
  const auto state_name = [](ThreadState state) { return absl::AsciiStrToLower(ThreadStateName(state)); };
  for (const ThreadState state : kThreadStates) {
    for (const auto& pool : pools.all()) counts[{"worker", *pool->name(), state_name(state)}] = 0;
    if (state == ThreadState::kRetiring) continue;  // only workers do
    for (const char* role : {"main", "connection", "service"}) counts[{role, "", state_name(state)}] = 0;
  }
  counts[{"process_worker", "", state_name(ThreadState::kIdle)}] = 0;
  for (const auto& pool : pools.all()) {  // that of its job
    counts[{"process_worker", *pool->name(), state_name(ThreadState::kRunning)}] = 0;
  }
  for (const ThreadInfo& thread : roll_call.threads) {
    ++counts[{absl::AsciiStrToLower(ThreadRoleName(thread.role)), thread.pool, state_name(thread.state)}];
  }
  MetricFamily threads = Gauges("jobpool_threads", "Threads of the server that have started and not ended.");
  for (const auto& [key, count] : counts) {
    const auto& [role, pool, state] = key;
    AddGauge(threads, {{"role", role}, {"pool", pool}, {"state", state}}, count);
  }
  return threads;
}

}  // namespace

std::vector<MetricFamily> LiveMetrics::Collect() const {
  const RollCall roll_call = registry_.Snapshot();
  MetricFamily jobs = Gauges("jobpool_jobs", "Jobs that have not ended.");
  MetricFamily max_threads = Gauges("jobpool_pool_max_threads", "Workers that the pool grows to.");
  MetricFamily max_queued = Gauges("jobpool_pool_max_queued_jobs", "Jobs that may be queued or scheduled.");
  MetricFamily retiring =
      Gauges("jobpool_pool_retiring_threads", "Workers that end when they have run what they are on.");
  MetricFamily states = Gauges("jobpool_pool_state", "1 for the state that the pool is in.");
  MetricFamily oldest_queued = Gauges("jobpool_oldest_queued_timestamp_seconds",
                                      "Since when the pool's first queued job waits; 0: none does.");
  MetricFamily oldest_running = Gauges("jobpool_oldest_running_timestamp_seconds",
                                       "Since when the pool's longest job runs; 0: none does.");
  for (const auto& pool : pools_.all()) {
    const PoolOptions options = pool->options();
    const PoolLoad load = pool->Load();
    AddGauge(jobs, {{"pool", options.name}, {"state", "scheduled"}},
             static_cast<double>(load.scheduled_jobs));
    AddGauge(jobs, {{"pool", options.name}, {"state", "queued"}}, static_cast<double>(load.queued_jobs));
    AddGauge(jobs, {{"pool", options.name}, {"state", "running"}}, static_cast<double>(load.running_jobs));
    AddGauge(max_threads, {{"pool", options.name}}, options.max_threads);
    AddGauge(retiring, {{"pool", options.name}}, load.retiring_threads);
    for (const PoolState state : {PoolState::kActive, PoolState::kPaused, PoolState::kDraining}) {
      AddGauge(states, {{"pool", options.name}, {"state", PoolStateName(state)}}, state == pool->state());
    }
    AddGauge(max_queued, {{"pool", options.name}}, static_cast<double>(options.max_queued_jobs));
    AddGauge(oldest_queued, {{"pool", options.name}},
             load.queued_jobs > 0 ? Timestamp(load.oldest_queued_time) : 0);
    absl::Time oldest = absl::InfiniteFuture();
    for (const ThreadInfo& thread : roll_call.threads) {
      if (thread.pool == options.name && !thread.job.id.empty())
        oldest = std::min(oldest, thread.job.start_time);
    }
    AddGauge(oldest_running, {{"pool", options.name}},
             oldest == absl::InfiniteFuture() ? 0 : Timestamp(oldest));
  }
  return {
      ThreadGauges(roll_call, pools_),
      SingleMetric("jobpool_threads_snapshot_version", "Grows with every start and end of a thread.",
                   MetricType::Gauge, static_cast<double>(roll_call.version)),
      std::move(jobs),
      std::move(max_threads),
      std::move(max_queued),
      std::move(retiring),
      std::move(states),
      std::move(oldest_queued),
      std::move(oldest_running),
      SingleMetric("jobpool_process_starts_total", "Child processes started to run jobs.",
                   MetricType::Counter, static_cast<double>(processes_.starts())),
      SingleMetric("jobpool_process_crashes_total",
                   "Child processes that ended, or had to be, though nobody had asked for it.",
                   MetricType::Counter, static_cast<double>(processes_.crashes())),
      SingleMetric("jobpool_draining", "1 while the server shuts down.", MetricType::Gauge, draining_.load()),
  };
}

}  // namespace jobpool
