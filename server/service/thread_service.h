#pragma once

#include <memory>

#include "absl/status/status.h"
#include "jobpool/v1/thread_service.grpc.pb.h"
#include "server/service/call.h"
#include "server/telemetry/rpc_metrics.h"
#include "server/workers/thread_registry.h"

namespace jobpool {

/// jobpool.v1.ThreadService: looks at the registry.
class ThreadService final : public v1::ThreadService::CallbackService {
 public:
  /// All outlive it and the server that it is registered with.
  ThreadService(ThreadRegistry& registry, const CallResources& resources, RpcMetrics& metrics);

  grpc::ServerUnaryReactor* ListThreads(grpc::CallbackServerContext* context,
                                        const v1::ListThreadsRequest* request,
                                        v1::ListThreadsResponse* response) override;
  grpc::ServerUnaryReactor* GetActiveCount(grpc::CallbackServerContext* context,
                                           const v1::GetActiveCountRequest* request,
                                           v1::GetActiveCountResponse* response) override;
  grpc::ServerUnaryReactor* GetThread(grpc::CallbackServerContext* context,
                                      const v1::GetThreadRequest* request, v1::Thread* response) override;
  grpc::ServerUnaryReactor* GetCurrentThread(grpc::CallbackServerContext* context,
                                             const v1::GetCurrentThreadRequest* request,
                                             v1::Thread* response) override;
  grpc::ServerUnaryReactor* UpdateThread(grpc::CallbackServerContext* context,
                                         const v1::UpdateThreadRequest* request,
                                         v1::Thread* response) override;

 private:
  absl::Status AnswerListThreads(const v1::ListThreadsRequest& request, v1::ListThreadsResponse* response);
  absl::Status AnswerUpdateThread(const v1::UpdateThreadRequest& request, v1::Thread* response);

  ThreadRegistry& registry_;
  const CallResources resources_;

  const std::unique_ptr<MethodMetrics> list_threads_;
  const std::unique_ptr<MethodMetrics> get_active_count_;
  const std::unique_ptr<MethodMetrics> get_thread_;
  const std::unique_ptr<MethodMetrics> get_current_thread_;
  const std::unique_ptr<MethodMetrics> update_thread_;
};

}  // namespace jobpool
