#include "server/service/pool_service.h"

#include <optional>
#include <string>

#include "server/base/status_macros.h"
#include "server/job/resource_name.h"
#include "server/service/call.h"
#include "server/service/page_size.h"
#include "server/service/page_token.h"
#include "server/service/time_codec.h"

namespace jobpool {
namespace {

constexpr char kListPools[] = "ListPools";

void EncodePool(const Dispatcher& pool, const RollCall& roll_call, v1::Pool* encoded) {
  const PoolOptions options = pool.options();
  encoded->set_name(PoolName(options.name));
  encoded->set_min_threads(options.min_threads);
  encoded->set_max_threads(options.max_threads);
  EncodeDuration(options.idle_timeout, encoded->mutable_idle_timeout());
  encoded->set_max_queued_jobs(options.max_queued_jobs);
  int threads = 0;
  int idle = 0;
  for (const ThreadInfo& thread : roll_call.threads) {
    if (thread.role != ThreadRole::kWorker || thread.pool != options.name) continue;
    ++threads;
    idle += !thread.running;
  }
  encoded->set_threads(threads);
  encoded->set_idle_threads(idle);
  const PoolLoad load = pool.Load();
  encoded->set_queued_jobs(load.queued_jobs);
  encoded->set_running_jobs(load.running_jobs);
}

}  // namespace

PoolService::PoolService(const PoolSet& pools, const ThreadRegistry& registry, const CallResources& resources,
                         RpcMetrics& metrics)
    : pools_(pools),
      registry_(registry),
      resources_(resources),
      list_pools_(metrics.Method("jobpool.v1.PoolService", "ListPools")),
      get_pool_(metrics.Method("jobpool.v1.PoolService", "GetPool")) {}

grpc::ServerUnaryReactor* PoolService::ListPools(grpc::CallbackServerContext*,
                                                 const v1::ListPoolsRequest* request,
                                                 v1::ListPoolsResponse* response) {
  return AnswerPooled(*list_pools_, resources_, *request, response,
                      [=, this] { return AnswerListPools(*request, response); });
}

absl::Status PoolService::AnswerListPools(const v1::ListPoolsRequest& request,
                                          v1::ListPoolsResponse* response) {
  Violations violations;
  const size_t page_size = DecodePageSize(request.page_size(), kDefaultPageSize, kMaxPageSize, violations);
  std::string after;
  if (!request.page_token().empty()) {
    std::optional<std::string> position = ReadPageToken(kListPools, request.page_token());
    if (!position.has_value()) violations.Add("page_token", "is not the next_page_token of such a call");
    after = std::move(position).value_or("");
  }
  JOBPOOL_RETURN_IF_ERROR(violations.ToStatus());
  const RollCall roll_call = registry_.Snapshot();
  for (const auto& pool : pools_.all()) {
    const std::string& name = *pool->name();
    if (name <= after) continue;
    if (static_cast<size_t>(response->pools_size()) == page_size) {
      response->set_next_page_token(MakePageToken(kListPools, after));
      break;
    }
    EncodePool(*pool, roll_call, response->add_pools());
    after = name;
  }
  return absl::OkStatus();
}

grpc::ServerUnaryReactor* PoolService::GetPool(grpc::CallbackServerContext*,
                                               const v1::GetPoolRequest* request, v1::Pool* response) {
  return AnswerPooled(*get_pool_, resources_, *request, response, [=, this]() -> absl::Status {
    Violations violations;
    const std::optional<std::string> name = ParsePoolName(request->name());
    if (!name.has_value()) violations.Add("name", "must be pools/{pool}");
    JOBPOOL_RETURN_IF_ERROR(violations.ToStatus());
    const Dispatcher* const pool = pools_.Find(*name);
    if (pool == nullptr) return PoolNotFoundError(request->name());
    EncodePool(*pool, registry_.Snapshot(), response);
    return absl::OkStatus();
  });
}

}  // namespace jobpool
