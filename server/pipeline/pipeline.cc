#include "server/pipeline/pipeline.h"

#include <algorithm>

#include <spdlog/spdlog.h>

#include "absl/strings/ascii.h"
#include "server/base/status_macros.h"
#include "server/pipeline/recovery.h"
#include "server/telemetry/log.h"

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
                   ThreadRegistry& registry, prometheus::Registry& metrics, const Clock& clock,
                   JobStore* disk, ProcessPool* processes)
    : handlers_(handlers),
      random_(options.seed),
      disk_(disk),
      metrics_(metrics, MetricNames(options.pools)),
      store_metrics_(disk != nullptr ? std::make_unique<StoreMetrics>(metrics) : nullptr),
      writer_(disk != nullptr ? std::make_unique<StoreWriter>(*disk, registry, *store_metrics_) : nullptr),
      log_(clock),
      events_(clock, options.limits.max_watch_events, writer_.get()),
      table_(options.limits.max_live_bytes),
      reader_(table_, store),
      timer_(registry, clock),
      job_timers_(
          timer_, [this](const auto& job) { pools_.Find(job->pool())->MakeReady(job); },
          [this](const auto& job) { pools_.Find(job->pool())->Expire(job); }),
      kinds_(timer_, options.kinds),
      completion_(table_, store, job_timers_, metrics_, log_, events_, PoolNames(options.pools)),
      runner_(handlers, processes, registry, clock, log_, events_),
      pools_(options.pools, {runner_, table_, completion_, job_timers_, timer_, kinds_, metrics_, log_,
                             events_, registry, [this] { return Random(); }}),
      request_ids_(clock, static_cast<size_t>(options.limits.max_request_ids)),
      admission_(pools_, table_, reader_, store, request_ids_, kinds_, metrics_, events_, clock,
                 options.seed),
      control_(table_, store, reader_, pools_, job_timers_, registry, events_, clock),
      notifier_(reader_, timer_, options.limits.max_waits),
      watches_(events_, reader_, registry, options.limits.max_watches),
      upkeep_(timer_, store, pools_, request_ids_, events_) {
  if (writer_ != nullptr) writer_->set_max_bytes(options.limits.max_store_bytes);
}

Pipeline::~Pipeline() { Stop(); }

double Pipeline::Random() {
  MutexLock lock(random_mu_);
  return std::uniform_real_distribution<double>()(random_);
}

bool Pipeline::HasLostThreads() const {
  return std::any_of(pools_.all().begin(), pools_.all().end(),
                     [](const auto& pool) { return pool->Load().lost_threads > 0; });
}

void Pipeline::Reconfigure(const std::vector<PoolOptions>& pools, const KindOptionsByKind& kinds,
                           const PipelineLimits& limits) {
  kinds_.Reconfigure(kinds);
  table_.set_max_bytes(limits.max_live_bytes);
  request_ids_.set_max_ids(static_cast<size_t>(limits.max_request_ids));
  notifier_.set_max_waits(limits.max_waits);
  events_.set_max_events(limits.max_watch_events);
  watches_.set_max_watches(limits.max_watches);
  if (writer_ != nullptr) writer_->set_max_bytes(limits.max_store_bytes);
  pools_.Reconfigure(pools);
}

void Pipeline::Stop() {
  if (writer_ != nullptr) writer_->Release();
  pools_.Stop();
  timer_.Stop();
  if (writer_ != nullptr) writer_->Stop();
  watches_.Stop();
}

void Pipeline::set_on_store_health(std::function<void()> on_health) {
  if (writer_ != nullptr) writer_->set_on_health(std::move(on_health));
}

absl::Status Pipeline::store_health() const {
  return writer_ != nullptr ? writer_->health() : absl::OkStatus();
}

absl::Status Pipeline::Recover() {
  if (disk_ == nullptr) return absl::OkStatus();
  for (const auto& pool : pools_.all()) pool->HoldStarts(true);
  table_.Reserve(disk_->CountLive());
  JOBPOOL_ASSIGN_OR_RETURN(
      const Recovered found,
      ReadRecovered(*disk_, pools_, clock().Now(), [this](absl::Span<const std::shared_ptr<LiveJob>> jobs) {
        table_.Restore(jobs);
        for (const auto& job : jobs) pools_.Find(job->pool())->Restore(job);
      }));
  admission_.GoOnAfter(found.last_number, found.last_create_time);
  {
    MutexLock lock(request_ids_.mu());
    for (const MadeRequest& request : found.requests) {
      request_ids_.Restore(request.key, request.job_id, request.expire_time);
    }
  }
  for (const auto& job : found.cancelled) control_.Cancel(job, CancelReason::kRequested);
  if (found.jobs > 0 || !found.requests.empty()) {
    Log().info("recovered jobs={} interrupted={} request_ids={}", found.jobs, found.interrupted,
               found.requests.size());
  }
  return absl::OkStatus();
}

void Pipeline::ResumeRecovered() {
  if (disk_ == nullptr) return;
  for (const auto& pool : pools_.all()) pool->HoldStarts(false);
}

}  // namespace jobpool
