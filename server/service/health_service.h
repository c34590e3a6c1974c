#pragma once

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "server/base/mutex.h"
#include "server/service/call_memory.h"
#include "server/telemetry/rpc_metrics.h"

namespace jobpool {

/// grpc.health.v1.Health, of our own rather than gRPC's, since reflection does
/// not describe that one. All services have one status. Thread-safe.
class HealthService final : public grpc::health::v1::Health::CallbackService {
 public:
  /// Calls of Watch that may be open at a time.
  static constexpr size_t kMaxWatches = 10'000;
  static constexpr size_t kMaxWatchRequestBytes = 1'000;

  /// `services`: the names that are known beside "". NOT_SERVING at first.
  HealthService(std::vector<std::string> services, CallMemory& memory, RpcMetrics& metrics);
  ~HealthService() override;

  /// Tells the watchers too.
  void SetServing(bool serving);

  /// Ends every watch with UNAVAILABLE, also those that are yet to come: an open
  /// one would keep the server from shutting down.
  void Shutdown();

  grpc::ServerUnaryReactor* Check(grpc::CallbackServerContext* context,
                                  const grpc::health::v1::HealthCheckRequest* request,
                                  grpc::health::v1::HealthCheckResponse* response) override;
  grpc::ServerWriteReactor<grpc::health::v1::HealthCheckResponse>* Watch(
      grpc::CallbackServerContext* context, const grpc::health::v1::HealthCheckRequest* request) override;

 private:
  class WatchCall;

  CallMemory& memory_;

  bool Knows(const std::string& service) const;
  /// And tells it the status. UNAVAILABLE: after Shutdown. RESOURCE_EXHAUSTED: too
  /// many are open.
  absl::Status Add(const std::shared_ptr<WatchCall>& watch);
  void Remove(const std::shared_ptr<WatchCall>& watch);

  const std::set<std::string> services_;
  const std::unique_ptr<MethodMetrics> check_;
  const std::unique_ptr<MethodMetrics> watch_;

  Mutex mu_;
  bool serving_ ABSL_GUARDED_BY(mu_) = false;
  bool shut_down_ ABSL_GUARDED_BY(mu_) = false;
  std::set<std::shared_ptr<WatchCall>> watches_ ABSL_GUARDED_BY(mu_);
};

}  // namespace jobpool
