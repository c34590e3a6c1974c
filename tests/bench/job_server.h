#pragma once

#include <memory>
#include <string>
#include <vector>

#include <grpcpp/channel.h>

#include "jobpool/v1/job_service.grpc.pb.h"
#include "tests/bench/child.h"
#include "tests/bench/closed_loop.h"

namespace jobpool::bench {

inline constexpr int kInFlight = 64;  // calls of one job
inline constexpr int kBatch = 1000;   // jobs of one call, where they come in batches
inline constexpr int kBatchesInFlight = 4;

/// A jobpoold of our own on loopback.
class JobServer {
 public:
  /// `flags` beside the listeners': say at least where jobs are kept.
  JobServer(const std::string& jobpoold, const std::vector<std::string>& flags);

  /// A no-op that has run, as RunJob tells of it.
  v1::Job RunNoop() const;

  const std::string& address() const { return child_.address(); }
  const std::shared_ptr<grpc::Channel>& channel() const { return channel_; }
  v1::JobService::Stub& jobs() const { return *jobs_; }
  /// The port of its admin listener.
  int http_port() const;
  pid_t pid() const { return child_.pid(); }

 private:
  const Child child_;
  const std::shared_ptr<grpc::Channel> channel_;
  const std::unique_ptr<v1::JobService::Stub> jobs_;
};

std::shared_ptr<grpc::Channel> ConnectTo(const std::string& address);

// Calls for RunClosedLoop; `stub` outlives them.

/// A job to its end, in one call.
StartCall RunJobCalls(v1::JobService::Stub& stub);
/// One to its acknowledgement.
StartCall SubmitJobCalls(v1::JobService::Stub& stub);
/// A batch of kBatch jobs to their acknowledgement, and then to their ends.
StartCall BatchCalls(v1::JobService::Stub& stub);

}  // namespace jobpool::bench
