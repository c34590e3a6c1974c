#pragma once

#include <memory>
#include <utility>

#include <google/protobuf/message.h>
#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>

#include "absl/status/status.h"
#include "server/base/clock.h"
#include "server/job/errors.h"
#include "server/service/call_memory.h"
#include "server/service/status_codec.h"
#include "server/telemetry/rpc_metrics.h"
#include "server/workers/service_pool.h"

namespace jobpool {

/// Counts one call in the metrics of its method, from construction to Done.
class CallCount {
 public:
  explicit CallCount(MethodMetrics& metrics) : metrics_(&metrics), start_(Clock::Real().Monotonic()) {
    metrics_->Started();
  }

  /// REQUIRES: called once.
  void Done(const absl::Status& status) const { metrics_->Handled(static_cast<int>(status.code()), start_); }

 private:
  MethodMetrics* metrics_;
  MonotonicTime start_;
};

/// Answers a unary call on gRPC's own thread: `answer` fills in the response and
/// returns the status, and must not block.
template <typename Answer>
grpc::ServerUnaryReactor* AnswerInline(grpc::CallbackServerContext* context, MethodMetrics& metrics,
                                       Answer answer) {
  const CallCount count(metrics);
  grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
  const absl::Status status = answer();
  count.Done(status);
  reactor->Finish(ToGrpcStatus(status));
  return reactor;
}

/// Where calls are answered that may block, and what all calls may hold together.
/// Both outlive the services.
struct CallResources {
  ServicePool& pool;
  CallMemory& memory;
};

/// A unary call whose messages count as what it holds, until its caller has read
/// the answer.
class UnaryCall final : public grpc::ServerUnaryReactor {
 public:
  /// `response` is gRPC's and lives until OnDone.
  UnaryCall(MethodMetrics& metrics, CallMemory& memory, google::protobuf::Message* response)
      : count_(metrics), held_(memory), response_(response) {}

  absl::Status TakeRequest(const google::protobuf::Message& request) {
    return held_.TakeMessage(request.ByteSizeLong());
  }

  /// REQUIRES: called once; the call may be gone when this returns.
  void FinishWith(absl::Status status) {
    if (status.ok()) status = held_.TakeMessage(response_->ByteSizeLong());
    if (!status.ok()) response_->Clear();
    count_.Done(status);
    Finish(ToGrpcStatus(status));
  }

  void OnDone() override { delete this; }

 private:
  bool InternalInlineable() override { return true; }  // OnDone does not block

  const CallCount count_;
  HeldMemory held_;
  google::protobuf::Message* const response_;
};

/// Answers a unary call on a SERVICE thread: `answer` fills in the response and
/// returns the status, and may block. RESOURCE_EXHAUSTED: too many calls wait for a
/// thread, or they hold too much.
template <typename Answer>
grpc::ServerUnaryReactor* AnswerPooled(MethodMetrics& metrics, const CallResources& resources,
                                       const google::protobuf::Message& request,
                                       google::protobuf::Message* response, Answer answer) {
  auto* const call = new UnaryCall(metrics, resources.memory, response);
  if (const absl::Status taken = call->TakeRequest(request); !taken.ok()) {
    call->FinishWith(taken);
  } else if (!resources.pool.Run(
                 [call, answer = std::move(answer)]() mutable { call->FinishWith(answer()); })) {
    call->FinishWith(TooManyCallsError("calls wait for a thread", resources.pool.max_tasks()));
  }
  return call;
}

}  // namespace jobpool
