#include "server/telemetry/job_metrics.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

namespace jobpool {
namespace {

// Two steps a decade, 1 ms to 10^6 s: jobs last from nothing to days.
const prometheus::Histogram::BucketBoundaries kJobSeconds = {
    0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300, 1e3, 3000, 10000, 30000, 1e5, 300000, 1e6};

// Of one attempt.
const prometheus::Histogram::BucketBoundaries kCounts = {0, 1, 10, 100, 1e3, 1e4, 1e5, 1e6, 1e7};
const prometheus::Histogram::BucketBoundaries kMemoryBytes = {
    1 << 20, 1 << 22, 1 << 24, 1 << 26, 1 << 28, 1 << 30, 4294967296.0, 17179869184.0, 68719476736.0};

constexpr const char* kRejectReasons[] = {
    "invalid_field",    "pool_not_found",    "job_not_found", "job_exists",    "request_id_reused",
    "request_ids_full", "queue_full",        "rate_reached",  "pool_draining", "payloads_full",
    "no_durable_store", "store_unavailable", "store_full",    "shutting_down"};

}  // namespace

struct JobMetrics::Handles {
  size_t pools = 0;
  size_t end_states = 0;
  std::vector<prometheus::Counter*> submitted;  // [kind][pool]
  std::vector<prometheus::Counter*> finished;   // [kind][pool][end state]
  std::vector<prometheus::Counter*> rejected;   // [reason]
  prometheus::Counter* interrupted = nullptr;
  std::vector<prometheus::Counter*> retries;    // [kind]
  std::vector<prometheus::Counter*> abandoned;  // [kind]
  prometheus::Counter* late_completions = nullptr;
  std::vector<prometheus::Histogram*> queue_duration;    // [pool]
  std::vector<prometheus::Histogram*> run_duration;      // [kind]
  std::vector<prometheus::Counter*> cpu_seconds;         // [kind]
  std::vector<prometheus::Histogram*> cpu_duration;      // [kind]
  std::vector<prometheus::Histogram*> context_switches;  // [kind]
  std::vector<prometheus::Histogram*> page_faults;       // [kind]
  std::vector<prometheus::Histogram*> peak_memory;       // [kind]
  std::vector<prometheus::Gauge*> last_finished;         // [pool]
};

JobMetrics::JobMetrics(prometheus::Registry& registry, const Names& names)
    : handles_(std::make_unique<Handles>()) {
  Handles& h = *handles_;
  h.pools = names.pools.size();
  h.end_states = names.end_states.size();
  auto& submitted = prometheus::BuildCounter()
                        .Name("jobpool_jobs_submitted_total")
                        .Help("Jobs accepted.")
                        .Register(registry);
  auto& finished = prometheus::BuildCounter()
                       .Name("jobpool_jobs_finished_total")
                       .Help("Jobs ended, by the state that they ended in.")
                       .Register(registry);
  for (const std::string& kind : names.kinds) {
    for (const std::string& pool : names.pools) {
      h.submitted.push_back(&submitted.Add({{"kind", kind}, {"pool", pool}}));
      for (const std::string& state : names.end_states) {
        h.finished.push_back(&finished.Add({{"kind", kind}, {"pool", pool}, {"state", state}}));
      }
    }
  }
  auto& rejected = prometheus::BuildCounter()
                       .Name("jobpool_jobs_rejected_total")
                       .Help("Jobs refused at submission, by reason.")
                       .Register(registry);
  for (const char* reason : kRejectReasons) h.rejected.push_back(&rejected.Add({{"reason", reason}}));
  h.interrupted = &prometheus::BuildCounter()
                       .Name("jobpool_jobs_interrupted_total")
                       .Help("Jobs cancelled because the server shut down.")
                       .Register(registry)
                       .Add({});
  auto& queue_duration = prometheus::BuildHistogram()
                             .Name("jobpool_job_queue_duration_seconds")
                             .Help("Time from a job's being ready to a worker's taking it.")
                             .Register(registry);
  auto& last_finished = prometheus::BuildGauge()
                            .Name("jobpool_last_finished_timestamp_seconds")
                            .Help("When a job of the pool last ended; 0: none has.")
                            .Register(registry);
  for (const std::string& pool : names.pools) {
    h.queue_duration.push_back(&queue_duration.Add({{"pool", pool}}, kJobSeconds));
    h.last_finished.push_back(&last_finished.Add({{"pool", pool}}));
  }
  auto& run_duration = prometheus::BuildHistogram()
                           .Name("jobpool_job_run_duration_seconds")
                           .Help("Time that a worker was on a job.")
                           .Register(registry);
  auto& cpu_seconds = prometheus::BuildCounter()
                          .Name("jobpool_job_cpu_seconds_total")
                          .Help("User and system time that jobs used.")
                          .Register(registry);
  auto& cpu_duration = prometheus::BuildHistogram()
                           .Name("jobpool_attempt_cpu_seconds")
                           .Help("User and system time that an attempt used.")
                           .Register(registry);
  auto& context_switches = prometheus::BuildHistogram()
                               .Name("jobpool_attempt_context_switches")
                               .Help("Context switches of an attempt, voluntary or not.")
                               .Register(registry);
  auto& page_faults = prometheus::BuildHistogram()
                          .Name("jobpool_attempt_page_faults")
                          .Help("Page faults of an attempt, minor and major.")
                          .Register(registry);
  auto& peak_memory = prometheus::BuildHistogram()
                          .Name("jobpool_attempt_peak_memory_bytes")
                          .Help("Most resident memory of the process of an attempt, where it had one.")
                          .Register(registry);
  auto& retries = prometheus::BuildCounter()
                      .Name("jobpool_job_retries_total")
                      .Help("Attempts that failed and were followed by another.")
                      .Register(registry);
  auto& abandoned = prometheus::BuildCounter()
                        .Name("jobpool_attempts_abandoned_total")
                        .Help("Attempts that did not end when asked to, whose thread was replaced.")
                        .Register(registry);
  h.late_completions = &prometheus::BuildCounter()
                            .Name("jobpool_late_completions_total")
                            .Help("Abandoned attempts that came to an end after all; it is not recorded.")
                            .Register(registry)
                            .Add({});
  for (const std::string& kind : names.kinds) {
    h.retries.push_back(&retries.Add({{"kind", kind}}));
    h.abandoned.push_back(&abandoned.Add({{"kind", kind}}));
    h.run_duration.push_back(&run_duration.Add({{"kind", kind}}, kJobSeconds));
    h.cpu_seconds.push_back(&cpu_seconds.Add({{"kind", kind}}));
    h.cpu_duration.push_back(&cpu_duration.Add({{"kind", kind}}, kJobSeconds));
    h.context_switches.push_back(&context_switches.Add({{"kind", kind}}, kCounts));
    h.page_faults.push_back(&page_faults.Add({{"kind", kind}}, kCounts));
    h.peak_memory.push_back(&peak_memory.Add({{"kind", kind}}, kMemoryBytes));
  }
}

JobMetrics::~JobMetrics() = default;

void JobMetrics::Submitted(size_t kind, size_t pool) {
  handles_->submitted[kind * handles_->pools + pool]->Increment();
}

void JobMetrics::Rejected(RejectReason reason, size_t jobs) {
  handles_->rejected[static_cast<size_t>(reason)]->Increment(static_cast<double>(jobs));
}

void JobMetrics::Interrupted() { handles_->interrupted->Increment(); }

void JobMetrics::Retried(size_t kind) { handles_->retries[kind]->Increment(); }

void JobMetrics::Abandoned(size_t kind) { handles_->abandoned[kind]->Increment(); }

void JobMetrics::LateCompletion() { handles_->late_completions->Increment(); }

void JobMetrics::Started(size_t pool, absl::Duration queued_for) {
  handles_->queue_duration[pool]->Observe(absl::ToDoubleSeconds(queued_for));
}

void JobMetrics::Ran(size_t kind, absl::Duration run_for, const ResourceUsage& usage) {
  Handles& h = *handles_;
  const double cpu_seconds = absl::ToDoubleSeconds(usage.user_cpu_time + usage.system_cpu_time);
  h.run_duration[kind]->Observe(absl::ToDoubleSeconds(run_for));
  h.cpu_seconds[kind]->Increment(cpu_seconds);
  h.cpu_duration[kind]->Observe(cpu_seconds);
  h.context_switches[kind]->Observe(
      static_cast<double>(usage.voluntary_context_switches + usage.involuntary_context_switches));
  h.page_faults[kind]->Observe(static_cast<double>(usage.minor_page_faults + usage.major_page_faults));
  if (usage.peak_memory_bytes > 0) h.peak_memory[kind]->Observe(static_cast<double>(usage.peak_memory_bytes));
}

void JobMetrics::Finished(size_t kind, size_t pool, size_t end_state, absl::Time end_time) {
  Handles& h = *handles_;
  h.finished[(kind * h.pools + pool) * h.end_states + end_state]->Increment();
  h.last_finished[pool]->Set(absl::ToDoubleSeconds(end_time - absl::UnixEpoch()));
}

}  // namespace jobpool
