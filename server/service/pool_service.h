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
  grpc::ServerUnaryReactor* UpdatePool(grpc::CallbackServerContext* context,
                                       const v1::UpdatePoolRequest* request, v1::Pool* response) override;
  grpc::ServerUnaryReactor* PausePool(grpc::CallbackServerContext* context,
                                      const v1::PausePoolRequest* request, v1::Pool* response) override;
  grpc::ServerUnaryReactor* ResumePool(grpc::CallbackServerContext* context,
                                       const v1::ResumePoolRequest* request, v1::Pool* response) override;
  grpc::ServerUnaryReactor* DrainPool(grpc::CallbackServerContext* context,
                                      const v1::DrainPoolRequest* request, v1::Pool* response) override;

 private:
  absl::StatusOr<Dispatcher*> Find(const std::string& name) const;
  absl::Status AnswerUpdatePool(const v1::UpdatePoolRequest& request, v1::Pool* response);
  // Calls `change` with the pool `name`, and answers with it as it stands then.
  template <typename Change>
  absl::Status AnswerChanged(const std::string& name, v1::Pool* response, Change change);
  absl::Status AnswerListPools(const v1::ListPoolsRequest& request, v1::ListPoolsResponse* response);

  const PoolSet& pools_;
  const ThreadRegistry& registry_;
  const CallResources resources_;

  const std::unique_ptr<MethodMetrics> list_pools_;
  const std::unique_ptr<MethodMetrics> get_pool_;
  const std::unique_ptr<MethodMetrics> update_pool_;
  const std::unique_ptr<MethodMetrics> pause_pool_;
  const std::unique_ptr<MethodMetrics> resume_pool_;
  const std::unique_ptr<MethodMetrics> drain_pool_;

  Mutex update_mu_;  // held while a pool's options are changed, so that no change is lost
};

}  // namespace jobpool
