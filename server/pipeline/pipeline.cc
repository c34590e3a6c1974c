#include "server/pipeline/pipeline.h"

#include "absl/strings/ascii.h"

namespace jobpool {
namespace {

std::vector<std::string> PoolNames(const std::vector<PoolOptions>& pools) {
  std::vector<std::string> names;
  names.reserve(pools.size());
  for (const PoolOptions& pool : pools) names.push_back(pool.name);
  return names;
}

JobMetrics::Names MetricNames(const std::vector<PoolOptions>& pools) {
  JobMetrics::Names names;
  for (size_t kind = 0; kind < kKindCount; ++kind) {
    names.kinds.emplace_back(KindName(static_cast<Kind>(kind)));
  }
  names.pools = PoolNames(pools);
  for (const JobState state : {JobState::kSucceeded, JobState::kFailed, JobState::kCancelled}) {
    names.end_states.push_back(absl::AsciiStrToLower(JobStateName(state)));
  }
  return names;
}

}  // namespace

Pipeline::Pipeline(const PipelineOptions& options, const HandlerRegistry& handlers, JobStore& store,
                   ThreadRegistry& registry, prometheus::Registry& metrics, const Clock& clock)
    : metrics_(metrics, MetricNames(options.pools)),
      log_(clock),
      table_(options.limits.max_live_bytes),
      reader_(table_, store),
      completion_(table_, store, metrics_, log_, PoolNames(options.pools)),
      pools_(options.pools, {handlers, table_, completion_, metrics_, log_, registry, clock}),
      request_ids_(clock, static_cast<size_t>(options.limits.max_request_ids)),
      admission_(pools_, table_, reader_, store, request_ids_, metrics_, clock, options.seed),
      control_(table_, store, reader_, pools_, completion_, registry, clock),
      timer_(registry, clock),
      notifier_(reader_, timer_, options.limits.max_waits),
      upkeep_(timer_, store, pools_, request_ids_) {}

Pipeline::~Pipeline() { Stop(); }

void Pipeline::Reconfigure(const std::vector<PoolOptions>& pools, const PipelineLimits& limits) {
  table_.set_max_bytes(limits.max_live_bytes);
  request_ids_.set_max_ids(static_cast<size_t>(limits.max_request_ids));
  notifier_.set_max_waits(limits.max_waits);
  pools_.Reconfigure(pools);
}

void Pipeline::Stop() {
  pools_.Stop();
  timer_.Stop();
}

}  // namespace jobpool
