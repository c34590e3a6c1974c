#pragma once

#include <memory>
#include <set>

#include "absl/status/status.h"
#include "jobpool/v1/echo_service.grpc.pb.h"
#include "server/base/mutex.h"
#include "server/service/call_memory.h"
#include "server/telemetry/rpc_metrics.h"

namespace jobpool {

/// jobpool.v1.EchoService. Thread-safe.
class EchoService final : public v1::EchoService::CallbackService {
 public:
  /// Calls of UppercaseText that may be open at a time.
  static constexpr int kMaxCalls = 1'000;
  /// Of one message: 1 MiB of text, and its tag and length.
  static constexpr size_t kMaxMessageBytes = (size_t{1} << 20) + 8;

  /// Both outlive it and the server that it is registered with.
  EchoService(CallMemory& memory, RpcMetrics& metrics);
  ~EchoService() override;

  /// Ends every call with UNAVAILABLE, also those that are yet to come: an open
  /// one would keep the server from shutting down.
  void Shutdown();

  grpc::ServerBidiReactor<v1::UppercaseTextRequest, v1::UppercaseTextResponse>* UppercaseText(
      grpc::CallbackServerContext* context) override;

 private:
  class UppercaseCall;

  /// UNAVAILABLE: after Shutdown. RESOURCE_EXHAUSTED: too many are open.
  absl::Status Add(const std::shared_ptr<UppercaseCall>& call);
  void Remove(const std::shared_ptr<UppercaseCall>& call);

  CallMemory& memory_;
  const std::unique_ptr<MethodMetrics> uppercase_text_;

  Mutex mu_;
  bool shut_down_ ABSL_GUARDED_BY(mu_) = false;
  std::set<std::shared_ptr<UppercaseCall>> calls_ ABSL_GUARDED_BY(mu_);
};

}  // namespace jobpool
