#include "server/service/thread_service.h"

#include <optional>
#include <string>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "server/base/status_macros.h"
#include "server/job/resource_name.h"
#include "server/service/call.h"
#include "server/service/field_mask.h"
#include "server/service/page_size.h"
#include "server/service/page_token.h"
#include "server/service/time_codec.h"
#include "server/workers/os_threads.h"

namespace jobpool {
namespace {

constexpr char kListThreads[] = "ListThreads";

v1::Thread::Role EncodeRole(ThreadRole role) {
  switch (role) {
    case ThreadRole::kMain:
      return v1::Thread::MAIN;
    case ThreadRole::kWorker:
      return v1::Thread::WORKER;
    case ThreadRole::kConnection:
      return v1::Thread::CONNECTION;
    case ThreadRole::kService:
      return v1::Thread::SERVICE;
    case ThreadRole::kProcessWorker:
      return v1::Thread::PROCESS_WORKER;
  }
  return v1::Thread::ROLE_UNSPECIFIED;
}

void EncodeThread(const ThreadInfo& thread, v1::Thread* encoded) {
  encoded->set_name(ThreadName(thread.id));
  encoded->set_display_name(thread.display_name);
  encoded->set_role(EncodeRole(thread.role));
  if (!thread.pool.empty()) encoded->set_pool(PoolName(thread.pool));
  switch (thread.state) {
    case ThreadState::kIdle:
      encoded->set_state(v1::Thread::IDLE);
      break;
    case ThreadState::kRunning:
      encoded->set_state(v1::Thread::RUNNING);
      break;
    case ThreadState::kRetiring:
      encoded->set_state(v1::Thread::RETIRING);
      break;
  }
  if (!thread.job.id.empty()) {
    encoded->set_job(JobName(thread.job.id));
    encoded->set_job_display_name(thread.job.display_name);
  }
  encoded->set_process_id(thread.process_id);
  encoded->set_os_thread_id(thread.os_thread_id);
  encoded->set_native_name(thread.native_name);
  encoded->set_daemon(thread.role == ThreadRole::kConnection || thread.role == ThreadRole::kService ||
                      thread.job.daemon);
  EncodeTime(thread.start_time, encoded->mutable_start_time());
  EncodeDuration(thread.cpu_time, encoded->mutable_cpu_time());
  encoded->set_jobs_run(static_cast<int64_t>(thread.jobs_run));
}

void EncodeCounts(const ActiveCount& count, google::protobuf::Map<std::string, int32_t>* encoded) {
  for (size_t role = 0; role < kThreadRoleCount; ++role) {
    if (count.by_role[role] == 0) continue;
    (*encoded)[std::string(ThreadRoleName(static_cast<ThreadRole>(role)))] = count.by_role[role];
  }
}

uint64_t DecodeThreadName(const std::string& name, absl::string_view field, Violations& violations) {
  const std::optional<uint64_t> id = ParseThreadName(name);
  if (!id.has_value()) violations.Add(field, "must be threads/{id}");
  return id.value_or(0);
}

void EncodeOsThreads(const ThreadRegistry& registry, v1::ListThreadsResponse* response) {
  for (const OsThreadInfo& thread : ForeignThreads(registry)) {
    v1::OsThread* const encoded = response->add_os_threads();
    encoded->set_os_thread_id(thread.os_thread_id);
    encoded->set_native_name(thread.native_name);
    EncodeDuration(thread.cpu_time, encoded->mutable_cpu_time());
  }
}

}  // namespace

ThreadService::ThreadService(ThreadRegistry& registry, const CallResources& resources, RpcMetrics& metrics)
    : registry_(registry),
      resources_(resources),
      list_threads_(metrics.Method("jobpool.v1.ThreadService", "ListThreads")),
      get_active_count_(metrics.Method("jobpool.v1.ThreadService", "GetActiveCount")),
      get_thread_(metrics.Method("jobpool.v1.ThreadService", "GetThread")),
      get_current_thread_(metrics.Method("jobpool.v1.ThreadService", "GetCurrentThread")),
      update_thread_(metrics.Method("jobpool.v1.ThreadService", "UpdateThread")) {}

grpc::ServerUnaryReactor* ThreadService::ListThreads(grpc::CallbackServerContext*,
                                                     const v1::ListThreadsRequest* request,
                                                     v1::ListThreadsResponse* response) {
  return AnswerPooled(*list_threads_, resources_, *request, response,
                      [=, this] { return AnswerListThreads(*request, response); });
}

absl::Status ThreadService::AnswerListThreads(const v1::ListThreadsRequest& request,
                                              v1::ListThreadsResponse* response) {
  Violations violations;
  const size_t page_size =
      DecodePageSize(request.page_size(), kDefaultThreadPageSize, kMaxThreadPageSize, violations);
  // The token names the arguments, so that it fails where they have changed.
  const std::string list = absl::StrCat(kListThreads, request.include_os_threads());
  uint64_t after = 0;
  if (!request.page_token().empty()) {
    const std::optional<std::string> position = ReadPageToken(list, request.page_token());
    if (!position.has_value() || !absl::SimpleAtoi(*position, &after)) {
      violations.Add("page_token", "is not the next_page_token of such a call");
    }
  }
  JOBPOOL_RETURN_IF_ERROR(violations.ToStatus());

  const RollCall roll_call = registry_.Snapshot();
  for (const ThreadInfo& thread : roll_call.threads) {
    if (thread.id <= after) continue;
    if (static_cast<size_t>(response->threads_size()) < page_size) {
      EncodeThread(thread, response->add_threads());
      after = thread.id;
    } else {
      response->set_next_page_token(MakePageToken(list, absl::StrCat(after)));
      break;
    }
  }
  ActiveCount count;
  for (const ThreadInfo& thread : roll_call.threads) ++count.by_role[static_cast<size_t>(thread.role)];
  response->set_total_size(count.total());
  EncodeCounts(count, response->mutable_counts_by_role());
  response->set_snapshot_version(static_cast<int64_t>(roll_call.version));
  if (request.include_os_threads() && request.page_token().empty()) EncodeOsThreads(registry_, response);
  return absl::OkStatus();
}

grpc::ServerUnaryReactor* ThreadService::GetActiveCount(grpc::CallbackServerContext*,
                                                        const v1::GetActiveCountRequest* request,
                                                        v1::GetActiveCountResponse* response) {
  return AnswerInline(*get_active_count_, resources_.memory, *request, response, [&] {
    const ActiveCount count = registry_.Count();
    response->set_active_count(count.total());
    EncodeCounts(count, response->mutable_counts_by_role());
    response->set_snapshot_version(static_cast<int64_t>(count.version));
    return absl::OkStatus();
  });
}

grpc::ServerUnaryReactor* ThreadService::GetThread(grpc::CallbackServerContext*,
                                                   const v1::GetThreadRequest* request,
                                                   v1::Thread* response) {
  return AnswerPooled(*get_thread_, resources_, *request, response, [=, this]() -> absl::Status {
    Violations violations;
    const uint64_t id = DecodeThreadName(request->name(), "name", violations);
    JOBPOOL_RETURN_IF_ERROR(violations.ToStatus());
    const std::optional<ThreadInfo> thread = registry_.Find(id);
    if (!thread.has_value()) return ThreadNotFoundError(request->name());
    EncodeThread(*thread, response);
    return absl::OkStatus();
  });
}

grpc::ServerUnaryReactor* ThreadService::GetCurrentThread(grpc::CallbackServerContext*,
                                                          const v1::GetCurrentThreadRequest* request,
                                                          v1::Thread* response) {
  return AnswerPooled(*get_current_thread_, resources_, *request, response, [=, this]() -> absl::Status {
    // The threads of the pool are registered for as long as they run.
    EncodeThread(*registry_.Find(RegisteredThread::Current()->id()), response);
    return absl::OkStatus();
  });
}

grpc::ServerUnaryReactor* ThreadService::UpdateThread(grpc::CallbackServerContext*,
                                                      const v1::UpdateThreadRequest* request,
                                                      v1::Thread* response) {
  return AnswerPooled(*update_thread_, resources_, *request, response,
                      [=, this] { return AnswerUpdateThread(*request, response); });
}

absl::Status ThreadService::AnswerUpdateThread(const v1::UpdateThreadRequest& request, v1::Thread* response) {
  const v1::Thread& thread = request.thread();
  Violations violations;
  const uint64_t id = DecodeThreadName(thread.name(), "thread.name", violations);
  const FieldMask mask(request.has_update_mask(), request.update_mask(), {"display_name"}, violations);
  const bool rename = mask.Has("display_name", !thread.display_name().empty());
  if (rename)
    CheckDisplayName(thread.display_name(), kMaxThreadNameCharacters, "thread.display_name", violations);
  JOBPOOL_RETURN_IF_ERROR(violations.ToStatus());
  if (rename) registry_.Rename(id, thread.display_name());
  const std::optional<ThreadInfo> renamed = registry_.Find(id);
  if (!renamed.has_value()) return ThreadNotFoundError(thread.name());
  EncodeThread(*renamed, response);
  return absl::OkStatus();
}

}  // namespace jobpool
