#pragma once

#include <memory>
#include <utility>

#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>

#include "absl/status/status.h"
#include "server/base/clock.h"
#include "server/job/errors.h"
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

/// Answers a unary call on a SERVICE thread, where `answer` may block.
/// RESOURCE_EXHAUSTED: too many calls wait for one.
template <typename Answer>
grpc::ServerUnaryReactor* AnswerPooled(grpc::CallbackServerContext* context, MethodMetrics& metrics,
                                       ServicePool& pool, Answer answer) {
  const CallCount count(metrics);
  grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
  const auto finish = [count, reactor](const absl::Status& status) {
    count.Done(status);
    reactor->Finish(ToGrpcStatus(status));
  };
  if (!pool.Run([finish, answer = std::move(answer)]() mutable { finish(answer()); })) {
    finish(TooManyCallsError("calls wait for a thread", pool.max_tasks()));
  }
  return reactor;
}

}  // namespace jobpool
