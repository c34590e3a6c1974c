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

/// Where calls are answered that may block, and what all calls may hold together.
/// Both outlive the services.
struct CallResources {
  ServicePool& pool;
  CallMemory& memory;
};

/// What becomes of an answer for which there is no memory.
enum class WhenFull : unsigned char {
  kRefuse,  // the call has changed nothing: its caller may try again
  kShrink,  // it has done its work: the answer says as little as can be
};

/// A unary call, which counts as held memory from its start until its caller has
/// read the answer.
class UnaryCall final : public grpc::ServerUnaryReactor {
 public:
  /// `response` is gRPC's and lives until OnDone.
  UnaryCall(MethodMetrics& metrics, CallMemory& memory, google::protobuf::Message* response,
            WhenFull when_full)
      : count_(metrics), held_(memory), response_(response), when_full_(when_full) {}

  /// To be called first: RESOURCE_EXHAUSTED where open calls hold too much. `request`:
  /// null if it is let go of at once.
  absl::Status Begin(const google::protobuf::Message* request);

  /// REQUIRES: called once; the call may be gone when this returns.
  void FinishWith(absl::Status status);

  void OnDone() override { delete this; }

 private:
  bool InternalInlineable() override { return true; }  // OnDone does not block

  const CallCount count_;
  HeldMemory held_;
  google::protobuf::Message* const response_;
  const WhenFull when_full_;
};

/// Answers a unary call on gRPC's own thread: `answer` fills in the response and
/// returns the status, and must not block.
template <typename Answer>
grpc::ServerUnaryReactor* AnswerInline(MethodMetrics& metrics, CallMemory& memory,
                                       const google::protobuf::Message& request,
                                       google::protobuf::Message* response, Answer answer) {
  auto* const call = new UnaryCall(metrics, memory, response, WhenFull::kRefuse);
  const absl::Status begun = call->Begin(&request);
  call->FinishWith(begun.ok() ? answer() : begun);
  return call;
}

/// Answers a unary call on a SERVICE thread: `answer`, which may block, fills in the
/// response and calls FinishWith on the call, now or later. RESOURCE_EXHAUSTED: too many
/// calls wait for a thread, or they hold too much.
template <typename Answer>
grpc::ServerUnaryReactor* AnswerLater(MethodMetrics& metrics, const CallResources& resources,
                                      const google::protobuf::Message& request,
                                      google::protobuf::Message* response, Answer answer,
                                      WhenFull when_full = WhenFull::kRefuse) {
  auto* const call = new UnaryCall(metrics, resources.memory, response, when_full);
  if (const absl::Status begun = call->Begin(&request); !begun.ok()) {
    call->FinishWith(begun);
  } else if (!resources.pool.Run([call, answer = std::move(answer)]() mutable { answer(call); })) {
    call->FinishWith(TooManyCallsError("calls wait for a thread", resources.pool.max_tasks()));
  }
  return call;
}

/// As AnswerLater, where `answer` returns the status when the response is there.
template <typename Answer>
grpc::ServerUnaryReactor* AnswerPooled(MethodMetrics& metrics, const CallResources& resources,
                                       const google::protobuf::Message& request,
                                       google::protobuf::Message* response, Answer answer,
                                       WhenFull when_full = WhenFull::kRefuse) {
  return AnswerLater(
      metrics, resources, request, response,
      [answer = std::move(answer)](UnaryCall* call) mutable { call->FinishWith(answer()); }, when_full);
}

}  // namespace jobpool
