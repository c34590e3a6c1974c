#include "server/service/pool_service.h"

#include <optional>
#include <string>

#include "server/base/status_macros.h"
#include "server/job/resource_name.h"
#include "server/service/call.h"
#include "server/service/field_mask.h"
#include "server/service/page_size.h"
#include "server/service/page_token.h"
#include "server/service/time_codec.h"

namespace jobpool {
namespace {

constexpr char kListPools[] = "ListPools";

v1::Pool::State EncodeState(PoolState state) {
  switch (state) {
    case PoolState::kActive:
      return v1::Pool::ACTIVE;
    case PoolState::kPaused:
      return v1::Pool::PAUSED;
    case PoolState::kDraining:
      return v1::Pool::DRAINING;
  }
  return v1::Pool::STATE_UNSPECIFIED;
}

void EncodePool(const Dispatcher& pool, const RollCall& roll_call, v1::Pool* encoded) {
  const PoolOptions options = pool.options();
  encoded->set_name(PoolName(options.name));
  encoded->set_min_threads(options.min_threads);
  encoded->set_max_threads(options.max_threads);
  EncodeDuration(options.idle_timeout, encoded->mutable_idle_timeout());
  encoded->set_max_queued_jobs(options.max_queued_jobs);
  encoded->set_max_starts_per_second(options.max_starts_per_second);
  encoded->set_max_submits_per_second(options.max_submits_per_second);
  EncodeDuration(options.stop_grace, encoded->mutable_stop_grace());
  encoded->set_state(EncodeState(pool.state()));
  int threads = 0;
  int idle = 0;
  for (const ThreadInfo& thread : roll_call.threads) {
    if (thread.role != ThreadRole::kWorker || thread.pool != options.name) continue;
    ++threads;
    idle += thread.state == ThreadState::kIdle;
  }
  encoded->set_threads(threads);
  encoded->set_idle_threads(idle);
  const PoolLoad load = pool.Load();
  encoded->set_retiring_threads(load.retiring_threads);
  encoded->set_scheduled_jobs(load.scheduled_jobs);
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
      get_pool_(metrics.Method("jobpool.v1.PoolService", "GetPool")),
      update_pool_(metrics.Method("jobpool.v1.PoolService", "UpdatePool")),
      pause_pool_(metrics.Method("jobpool.v1.PoolService", "PausePool")),
      resume_pool_(metrics.Method("jobpool.v1.PoolService", "ResumePool")),
      drain_pool_(metrics.Method("jobpool.v1.PoolService", "DrainPool")) {}

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

absl::StatusOr<Dispatcher*> PoolService::Find(const std::string& name) const {
  const std::optional<std::string> id = ParsePoolName(name);
  if (!id.has_value()) return InvalidFieldsError({{"name", "must be pools/{pool}"}});
  Dispatcher* const pool = pools_.Find(*id);
  if (pool == nullptr) return PoolNotFoundError(name);
  return pool;
}

template <typename Change>
absl::Status PoolService::AnswerChanged(const std::string& name, v1::Pool* response, Change change) {
  JOBPOOL_ASSIGN_OR_RETURN(Dispatcher* const pool, Find(name));
  change(*pool);
  EncodePool(*pool, registry_.Snapshot(), response);
  return absl::OkStatus();
}

grpc::ServerUnaryReactor* PoolService::GetPool(grpc::CallbackServerContext*,
                                               const v1::GetPoolRequest* request, v1::Pool* response) {
  return AnswerPooled(*get_pool_, resources_, *request, response,
                      [=, this] { return AnswerChanged(request->name(), response, [](Dispatcher&) {}); });
}

grpc::ServerUnaryReactor* PoolService::PausePool(grpc::CallbackServerContext*,
                                                 const v1::PausePoolRequest* request, v1::Pool* response) {
  return AnswerPooled(*pause_pool_, resources_, *request, response, [=, this] {
    return AnswerChanged(request->name(), response, [](Dispatcher& pool) { pool.Pause(); });
  });
}

grpc::ServerUnaryReactor* PoolService::ResumePool(grpc::CallbackServerContext*,
                                                  const v1::ResumePoolRequest* request, v1::Pool* response) {
  return AnswerPooled(*resume_pool_, resources_, *request, response, [=, this] {
    return AnswerChanged(request->name(), response, [](Dispatcher& pool) { pool.Resume(); });
  });
}

grpc::ServerUnaryReactor* PoolService::DrainPool(grpc::CallbackServerContext*,
                                                 const v1::DrainPoolRequest* request, v1::Pool* response) {
  return AnswerPooled(*drain_pool_, resources_, *request, response, [=, this] {
    return AnswerChanged(request->name(), response, [](Dispatcher& pool) { pool.Drain(); });
  });
}

grpc::ServerUnaryReactor* PoolService::UpdatePool(grpc::CallbackServerContext*,
                                                  const v1::UpdatePoolRequest* request, v1::Pool* response) {
  return AnswerPooled(*update_pool_, resources_, *request, response,
                      [=, this] { return AnswerUpdatePool(*request, response); });
}

absl::Status PoolService::AnswerUpdatePool(const v1::UpdatePoolRequest& request, v1::Pool* response) {
  const v1::Pool& given = request.pool();
  Violations violations;
  const std::optional<std::string> name = ParsePoolName(given.name());
  if (!name.has_value()) violations.Add("pool.name", "must be pools/{pool}");
  const FieldMask mask(request.has_update_mask(), request.update_mask(),
                       {"min_threads", "max_threads", "idle_timeout", "max_queued_jobs",
                        "max_starts_per_second", "max_submits_per_second", "stop_grace"},
                       violations);
  JOBPOOL_RETURN_IF_ERROR(violations.ToStatus());
  Dispatcher* const pool = pools_.Find(*name);
  if (pool == nullptr) return PoolNotFoundError(given.name());
  const PoolOptions defaults;
  const auto duration = [&](bool has, const google::protobuf::Duration& encoded, absl::string_view field,
                            absl::Duration otherwise) {
    return has ? DecodeDuration(encoded, field, violations).value_or(otherwise) : otherwise;
  };
  MutexLock lock(update_mu_);
  PoolOptions options = pool->options();
  if (mask.Has("min_threads", given.min_threads() != 0)) options.min_threads = given.min_threads();
  if (mask.Has("max_threads", given.max_threads() != 0)) options.max_threads = given.max_threads();
  if (mask.Has("idle_timeout", given.has_idle_timeout())) {
    options.idle_timeout =
        duration(given.has_idle_timeout(), given.idle_timeout(), "pool.idle_timeout", defaults.idle_timeout);
  }
  if (mask.Has("max_queued_jobs", given.max_queued_jobs() != 0)) {
    options.max_queued_jobs = given.max_queued_jobs();
  }
  if (mask.Has("max_starts_per_second", given.max_starts_per_second() != 0)) {
    options.max_starts_per_second = given.max_starts_per_second();
  }
  if (mask.Has("max_submits_per_second", given.max_submits_per_second() != 0)) {
    options.max_submits_per_second = given.max_submits_per_second();
  }
  if (mask.Has("stop_grace", given.has_stop_grace())) {
    options.stop_grace =
        duration(given.has_stop_grace(), given.stop_grace(), "pool.stop_grace", defaults.stop_grace);
  }
  CheckPoolOptions(options, "pool.", violations);
  JOBPOOL_RETURN_IF_ERROR(violations.ToStatus());
  pool->Reconfigure(options);
  EncodePool(*pool, registry_.Snapshot(), response);
  return absl::OkStatus();
}

}  // namespace jobpool
