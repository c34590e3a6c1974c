#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include <grpcpp/support/server_callback.h>

#include "absl/status/status.h"
#include "jobpool/v1/job_service.pb.h"
#include "server/pipeline/job_watches.h"
#include "server/service/open_call.h"
#include "server/service/watch_token.h"
#include "server/workers/service_pool.h"

namespace jobpool {

/// One call of WatchJobs. Starts its watch, and encodes what it tells, on SERVICE
/// threads; one message is on its way at a time.
class WatchJobsCall final : public OpenCall<WatchJobsCall, grpc::ServerWriteReactor<v1::WatchJobsResponse>> {
 public:
  /// Events in one message.
  static constexpr int kMaxEvents = 100;

  /// `watches` outlives the call, `request` is gRPC's. `epoch`: another at each start of
  /// the server.
  static grpc::ServerWriteReactor<v1::WatchJobsResponse>* Start(JobWatches& watches, uint64_t epoch,
                                                                const CallResources& resources,
                                                                const CallCount& count,
                                                                const v1::WatchJobsRequest& request);

  void OnWriteDone(bool ok) override;
  void OnCancel() override;

 private:
  // What is to be done with what was filled in.
  enum class Then : unsigned char { kWait, kGoOn, kEnd };
  struct Filled {
    Then then = Then::kGoOn;
    absl::Status end;  // of kEnd: what the call ends with when the message, if any, is written
    bool send = false;
  };

  WatchJobsCall(JobWatches& watches, WatchTokens tokens, const CallResources& resources,
                const CallCount& count)
      : OpenCall(count, resources.memory),
        watches_(watches),
        tokens_(std::move(tokens)),
        pool_(resources.pool),
        message_held_(resources.memory) {}

  void Begin(WatchSpec spec);
  // Something may be there to be told.
  void Wake();
  void SchedulePump();
  // Tells what there is: one message, after which OnWriteDone goes on.
  void Pump();
  Filled Fill(JobWatch& watch, v1::WatchJobsResponse& message);
  // As FinishOnce, and lets go of the watch.
  void End(const absl::Status& status);

  JobWatches& watches_;
  const WatchTokens tokens_;
  ServicePool& pool_;

  // Belongs to who pumps.
  bool sent_any_ = false;
  bool sent_token_ = false;
  std::optional<WatchItem> left_over_;  // had no room in the message before
  std::optional<uint64_t> position_;    // where to go on after what was sent

  HeldMemory message_held_ ABSL_GUARDED_BY(mu_);
  std::shared_ptr<JobWatch> watch_ ABSL_GUARDED_BY(mu_);  // until the call has finished
  bool busy_ ABSL_GUARDED_BY(mu_) = true;                 // somebody pumps, or a message is being written
  bool woken_ ABSL_GUARDED_BY(mu_) = false;               // meanwhile
  std::optional<absl::Status> end_ ABSL_GUARDED_BY(mu_);  // once the message is written
  v1::WatchJobsResponse response_;                        // gRPC's while it is being written
};

}  // namespace jobpool
