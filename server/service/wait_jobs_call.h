#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>

#include "absl/status/status.h"
#include "jobpool/v1/job_service.pb.h"
#include "server/pipeline/notifier.h"
#include "server/service/open_call.h"
#include "server/workers/service_pool.h"

namespace jobpool {

/// What a call of WaitJobs asks for.
struct WaitArguments {
  std::vector<std::string> ids;
  Join::Mode mode = Join::Mode::kAll;
  std::optional<MonotonicTime> deadline;
};

/// One call of WaitJobs. Looks the jobs up, and encodes them, on SERVICE threads.
///
/// The join holds it too.
class WaitJobsCall final : public OpenCall<WaitJobsCall, grpc::ServerUnaryReactor> {
 public:
  /// `notifier` outlives the call; `request` and `response` are gRPC's
  /// and live until OnDone.
  static grpc::ServerUnaryReactor* Start(Notifier& notifier, const CallResources& resources,
                                         const CallCount& count, grpc::CallbackServerContext& context,
                                         const v1::WaitJobsRequest& request, v1::WaitJobsResponse* response);

  void OnCancel() override;

 private:
  WaitJobsCall(Notifier& notifier, const CallResources& resources, const CallCount& count,
               v1::WaitJobsResponse* response)
      : OpenCall(count, resources.memory), notifier_(notifier), pool_(resources.pool), response_(response) {}

  void Wait(const WaitArguments& arguments);
  void Answer(Join::Result result);
  bool InternalInlineable() override { return true; }  // as in RunJobCall

  Notifier& notifier_;
  ServicePool& pool_;
  v1::WaitJobsResponse* const response_ ABSL_PT_GUARDED_BY(mu_);  // valid until finished_
  std::shared_ptr<Join> join_ ABSL_GUARDED_BY(mu_);
  std::optional<Join::Result> result_ ABSL_GUARDED_BY(mu_);  // set: the join is over
};

}  // namespace jobpool
