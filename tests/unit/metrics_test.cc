// The counters of jobs and of RPCs, and what is read of the process.

#include <chrono>
#include <set>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

#include <gtest/gtest.h>
#include <prometheus/registry.h>

#include "server/telemetry/job_metrics.h"
#include "server/telemetry/process_metrics.h"
#include "server/telemetry/rpc_metrics.h"
#include "tests/support/metric_reader.h"

namespace jobpool {
namespace {

class JobMetricsTest : public ::testing::Test {
 protected:
  JobMetricsTest()
      : metrics_(registry_, {{"sleep", "noop"}, {"blocking", "compute"}, {"succeeded", "failed"}}) {}

  double Sum(const std::string& name, const std::map<std::string, std::string>& labels = {}) const {
    return SumOfSeries(registry_, name, labels);
  }
  size_t Series(const std::string& name) const { return FindSeries(registry_, name, {}).size(); }

  prometheus::Registry registry_;
  JobMetrics metrics_;
};

TEST_F(JobMetricsTest, EverySeriesExistsAtZero) {
  const std::pair<const char*, size_t> expected[] = {
      {"jobpool_jobs_submitted_total", 4},       {"jobpool_jobs_finished_total", 8},
      {"jobpool_job_queue_duration_seconds", 2}, {"jobpool_job_run_duration_seconds", 2},
      {"jobpool_job_cpu_seconds_total", 2},      {"jobpool_last_finished_timestamp_seconds", 2}};
  for (const auto& [name, series] : expected) {
    EXPECT_EQ(Series(name), series) << name;
    EXPECT_EQ(Sum(name), 0) << name;
  }
  EXPECT_GE(Series("jobpool_jobs_rejected_total"), 5u);
  EXPECT_EQ(Sum("jobpool_jobs_rejected_total"), 0);
}

TEST_F(JobMetricsTest, EachPlaceIsItsOwn) {
  const std::vector<std::string> kinds = {"sleep", "noop"};
  const std::vector<std::string> pools = {"blocking", "compute"};
  const std::vector<std::string> states = {"succeeded", "failed"};
  int count = 0;
  for (size_t kind = 0; kind < 2; ++kind) {
    for (size_t pool = 0; pool < 2; ++pool) {
      for (int i = 0; i <= count; ++i) metrics_.Submitted(kind, pool);
      EXPECT_EQ(Sum("jobpool_jobs_submitted_total", {{"kind", kinds[kind]}, {"pool", pools[pool]}}), ++count);
      for (size_t state = 0; state < 2; ++state) {
        metrics_.Finished(kind, pool, state, absl::UnixEpoch());
        EXPECT_EQ(Sum("jobpool_jobs_finished_total",
                      {{"kind", kinds[kind]}, {"pool", pools[pool]}, {"state", states[state]}}),
                  1);
      }
    }
  }
  EXPECT_EQ(Sum("jobpool_jobs_submitted_total"), 1 + 2 + 3 + 4);
  EXPECT_EQ(Sum("jobpool_jobs_finished_total"), 8);
}

TEST_F(JobMetricsTest, RejectionsAreCountedByReason) {
  const std::pair<RejectReason, const char*> reasons[] = {{RejectReason::kInvalidField, "invalid_field"},
                                                          {RejectReason::kPoolNotFound, "pool_not_found"},
                                                          {RejectReason::kJobExists, "job_exists"},
                                                          {RejectReason::kQueueFull, "queue_full"},
                                                          {RejectReason::kShuttingDown, "shutting_down"}};
  for (const auto& [reason, label] : reasons) {
    metrics_.Rejected(reason);
    EXPECT_EQ(Sum("jobpool_jobs_rejected_total", {{"reason", label}}), 1) << label;
  }
}

TEST_F(JobMetricsTest, DurationsAreInSeconds) {
  metrics_.Started(1, absl::Milliseconds(1500));
  metrics_.Ran(0, absl::Seconds(3), {absl::Milliseconds(200), absl::Milliseconds(50), 3, 4, 5, 6, 7 << 20});
  const auto queued = FindSeries(registry_, "jobpool_job_queue_duration_seconds", {{"pool", "compute"}});
  EXPECT_EQ(queued[0].histogram.sample_count, 1u);
  EXPECT_DOUBLE_EQ(queued[0].histogram.sample_sum, 1.5);
  const auto ran = FindSeries(registry_, "jobpool_job_run_duration_seconds", {{"kind", "sleep"}});
  EXPECT_EQ(ran[0].histogram.sample_count, 1u);
  EXPECT_DOUBLE_EQ(ran[0].histogram.sample_sum, 3);
  EXPECT_DOUBLE_EQ(Sum("jobpool_job_cpu_seconds_total", {{"kind", "sleep"}}), 0.25);
  EXPECT_EQ(Sum("jobpool_job_cpu_seconds_total", {{"kind", "noop"}}), 0);
}

TEST_F(JobMetricsTest, UsageOfAttemptsIsToldByKind) {
  metrics_.Ran(0, absl::Seconds(3), {absl::Milliseconds(200), absl::Milliseconds(50), 3, 4, 5, 6, 7 << 20});
  metrics_.Ran(0, absl::Seconds(3), {});  // of a thread, which has no memory of its own
  const std::tuple<const char*, double, uint64_t> expected[] = {
      {"jobpool_attempt_cpu_seconds", 0.25, 2},
      {"jobpool_attempt_context_switches", 7, 2},
      {"jobpool_attempt_page_faults", 11, 2},
      {"jobpool_attempt_peak_memory_bytes", 7 << 20, 1},
  };
  for (const auto& [name, sum, count] : expected) {
    const auto series = FindSeries(registry_, name, {{"kind", "sleep"}});
    EXPECT_DOUBLE_EQ(series[0].histogram.sample_sum, sum) << name;
    EXPECT_EQ(series[0].histogram.sample_count, count) << name;
    EXPECT_EQ(FindSeries(registry_, name, {{"kind", "noop"}})[0].histogram.sample_count, 0u) << name;
  }
}

TEST_F(JobMetricsTest, LastFinishedIsAUnixTime) {
  metrics_.Finished(0, 1, 0, absl::FromUnixMillis(1'767'225'600'500));
  EXPECT_DOUBLE_EQ(Sum("jobpool_last_finished_timestamp_seconds", {{"pool", "compute"}}), 1'767'225'600.5);
  EXPECT_EQ(Sum("jobpool_last_finished_timestamp_seconds", {{"pool", "blocking"}}), 0);
}

TEST_F(JobMetricsTest, CountsOverThreads) {
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([this] {
      for (int i = 0; i < 1000; ++i) {
        metrics_.Submitted(0, 0);
        metrics_.Started(0, absl::Seconds(1));
        metrics_.Ran(0, absl::Seconds(1), {absl::Seconds(1)});
        metrics_.Finished(0, 0, 0, absl::UnixEpoch());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(Sum("jobpool_jobs_submitted_total"), 4000);
  EXPECT_EQ(Sum("jobpool_jobs_finished_total"), 4000);
  EXPECT_EQ(Sum("jobpool_job_run_duration_seconds"), 4000);
  EXPECT_EQ(Sum("jobpool_job_cpu_seconds_total"), 4000);
}

TEST(RpcMetricsTest, EverySeriesOfAMethodExistsAtZero) {
  prometheus::Registry registry;
  RpcMetrics rpc(registry);
  const auto method = rpc.Method("jobpool.v1.JobService", "GetJob");
  const std::map<std::string, std::string> labels = {
      {"grpc_type", "unary"}, {"grpc_service", "jobpool.v1.JobService"}, {"grpc_method", "GetJob"}};
  EXPECT_EQ(SumOfSeries(registry, "grpc_server_started_total", labels), 0);
  EXPECT_EQ(SumOfSeries(registry, "grpc_server_handling_seconds", labels), 0);
  EXPECT_EQ(FindSeries(registry, "grpc_server_handled_total", labels).size(), 17u);
  EXPECT_EQ(SumOfSeries(registry, "grpc_server_handled_total", labels), 0);
}

TEST(RpcMetricsTest, CountsEachMethodAndCode) {
  // In the order of the codes; spelt as go-grpc-prometheus does.
  const char* const codes[] = {
      "OK",       "Canceled",       "Unknown",          "InvalidArgument",   "DeadlineExceeded",
      "NotFound", "AlreadyExists",  "PermissionDenied", "ResourceExhausted", "FailedPrecondition",
      "Aborted",  "OutOfRange",     "Unimplemented",    "Internal",          "Unavailable",
      "DataLoss", "Unauthenticated"};
  prometheus::Registry registry;
  RpcMetrics rpc(registry);
  const auto get = rpc.Method("s", "Get");
  const auto watch = rpc.Method("s", "Watch", "server_stream");
  for (int code = 0; code < 17; ++code) {
    get->Started();
    for (int i = 0; i <= code; ++i) get->Handled(code, Clock::Real().Monotonic());
    EXPECT_EQ(SumOfSeries(registry, "grpc_server_handled_total",
                          {{"grpc_method", "Get"}, {"grpc_code", codes[code]}}),
              code + 1);
  }
  EXPECT_EQ(SumOfSeries(registry, "grpc_server_started_total", {{"grpc_method", "Get"}}), 17);
  EXPECT_EQ(SumOfSeries(registry, "grpc_server_handling_seconds", {{"grpc_method", "Get"}}), 17 * 18 / 2);
  EXPECT_EQ(SumOfSeries(registry, "grpc_server_handled_total", {{"grpc_type", "server_stream"}}), 0);
  watch->Started();
  EXPECT_EQ(SumOfSeries(registry, "grpc_server_started_total", {{"grpc_type", "server_stream"}}), 1);
}

TEST(RpcMetricsTest, MeasuresFromTheStart) {
  prometheus::Registry registry;
  RpcMetrics rpc(registry);
  rpc.Method("s", "m")->Handled(0, Clock::Real().Monotonic() - std::chrono::seconds(7));
  const auto series = FindSeries(registry, "grpc_server_handling_seconds", {});
  EXPECT_GE(series[0].histogram.sample_sum, 7);
  EXPECT_LT(series[0].histogram.sample_sum, 60);
}

TEST(ProcessMetricsTest, AreTheStandardOnes) {
  const ProcessMetrics process;
  // /proc counts CPU time in ticks, of 10 ms: a process that has just begun has used none.
  while (SumOfSeries(process, "process_cpu_seconds_total") == 0) {
  }
  std::set<std::string> names;
  for (const auto& family : process.Collect()) {
    EXPECT_TRUE(names.insert(family.name).second) << family.name;
    EXPECT_FALSE(family.help.empty());
  }
  for (const char* name : {"process_cpu_seconds_total", "process_resident_memory_bytes", "process_open_fds",
                           "process_max_fds", "process_virtual_memory_bytes", "process_start_time_seconds"}) {
    EXPECT_GT(SumOfSeries(process, name), 0) << name;
  }
  const double start = SumOfSeries(process, "process_start_time_seconds");
  const double now = absl::ToDoubleSeconds(Clock::Real().Now() - absl::UnixEpoch());
  EXPECT_LE(start, now + 2);
  EXPECT_GT(start, now - 3600);
}

}  // namespace
}  // namespace jobpool
