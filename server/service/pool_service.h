#pragma once

#include <memory>

#include "absl/status/status.h"
#include "jobpool/v1/pool_service.grpc.pb.h"
#include "server/pipeline/pool_set.h"
#include "server/service/call.h"
#include "server/telemetry/rpc_metrics.h"
#include "server/workers/thread_registry.h"

namespace jobpool {

/// jobpool.v1.PoolService: looks at the pools.
class PoolService final : public v1::PoolService::CallbackService {
 public:
  /// All outlive it and the server that it is registered with.
  PoolService(const PoolSet& pools, const ThreadRegistry& registry, const CallResources& resources,
              RpcMetrics& metrics);

  grpc::ServerUnaryReactor* ListPools(grpc::CallbackServerContext* context,
                                      const v1::ListPoolsRequest* request,
                                      v1::ListPoolsResponse* response) override;
  grpc::ServerUnaryReactor* GetPool(grpc::CallbackServerContext* context, const v1::GetPoolRequest* request,
                                    v1::Pool* response) override;

 private:
  absl::Status AnswerListPools(const v1::ListPoolsRequest& request, v1::ListPoolsResponse* response);

  const PoolSet& pools_;
  const ThreadRegistry& registry_;
  const CallResources resources_;

  const std::unique_ptr<MethodMetrics> list_pools_;
  const std::unique_ptr<MethodMetrics> get_pool_;
};

}  // namespace jobpool
