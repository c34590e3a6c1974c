#include "server/telemetry/rpc_metrics.h"

#include <prometheus/counter.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

namespace jobpool {
namespace {

// gRPC's proposal A66, latency buckets.
const prometheus::Histogram::BucketBoundaries kCallSeconds = {
    0,    0.00001, 0.00005, 0.0001, 0.0003, 0.0006, 0.0008, 0.001, 0.002, 0.003, 0.004, 0.005, 0.006, 0.008,
    0.01, 0.013,   0.016,   0.02,   0.025,  0.03,   0.04,   0.05,  0.065, 0.08,  0.1,   0.13,  0.16,  0.2,
    0.25, 0.3,     0.4,     0.5,    0.65,   0.8,    1,      2,     5,     10,    20,    50,    100};

// Spelt as grpc-ecosystem's exporters do, so that existing dashboards fit.
constexpr std::array<const char*, 17> kCodes = {
    "OK",       "Canceled",       "Unknown",          "InvalidArgument",   "DeadlineExceeded",
    "NotFound", "AlreadyExists",  "PermissionDenied", "ResourceExhausted", "FailedPrecondition",
    "Aborted",  "OutOfRange",     "Unimplemented",    "Internal",          "Unavailable",
    "DataLoss", "Unauthenticated"};

}  // namespace

void MethodMetrics::Started() { started_.Increment(); }

void MethodMetrics::Handled(int code, MonotonicTime start) {
  handled_[static_cast<size_t>(code)]->Increment();
  handling_.Observe(std::chrono::duration<double>(Clock::Real().Monotonic() - start).count());
}

RpcMetrics::RpcMetrics(prometheus::Registry& registry)
    : started_(prometheus::BuildCounter()
                   .Name("grpc_server_started_total")
                   .Help("RPCs started on the server.")
                   .Register(registry)),
      handled_(prometheus::BuildCounter()
                   .Name("grpc_server_handled_total")
                   .Help("RPCs completed on the server, by status code.")
                   .Register(registry)),
      handling_(prometheus::BuildHistogram()
                    .Name("grpc_server_handling_seconds")
                    .Help("Time from an RPC's start to its status, waits for jobs included.")
                    .Register(registry)) {}

std::unique_ptr<MethodMetrics> RpcMetrics::Method(const std::string& service, const std::string& method,
                                                  const std::string& type) {
  const prometheus::Labels labels = {{"grpc_type", type}, {"grpc_service", service}, {"grpc_method", method}};
  std::array<prometheus::Counter*, 17> handled{};
  for (size_t code = 0; code < kCodes.size(); ++code) {
    prometheus::Labels with_code = labels;
    with_code["grpc_code"] = kCodes[code];
    handled[code] = &handled_.Add(with_code);
  }
  return std::make_unique<MethodMetrics>(started_.Add(labels), handled, handling_.Add(labels, kCallSeconds));
}

}  // namespace jobpool
