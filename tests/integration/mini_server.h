#pragma once

#include <memory>
#include <string>

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <gtest/gtest.h>

#include "google/rpc/status.pb.h"
#include "jobpool/v1/echo_service.grpc.pb.h"
#include "jobpool/v1/error_reason.pb.h"
#include "jobpool/v1/job_service.grpc.pb.h"
#include "jobpool/v1/pool_service.grpc.pb.h"
#include "jobpool/v1/thread_service.grpc.pb.h"
#include "server/app/app.h"
#include "tests/support/temp_dir.h"

namespace jobpool::testing {

/// A whole server in the test's process, on free loopback ports, with stubs for
/// its services. What the integration tests share.
class MiniServer : public ::testing::Test {
 protected:
  /// `config`: its addresses are replaced.
  explicit MiniServer(ConfigFile file = ConfigFile::Default());
  ~MiniServer() override;

  /// A connected channel of its own, not shared with the stubs below.
  std::shared_ptr<grpc::Channel> NewChannel(grpc::ChannelArguments arguments = {}) const;

  v1::Job Submit(const v1::Job& job);
  /// Joins it, and returns it as it ended.
  v1::Job Wait(const std::string& name);
  /// Polls until the job is RUNNING; fails the test if it ends first.
  void AwaitRunning(const std::string& name);
  v1::Job Get(const std::string& name);
  grpc::Status Cancel(const std::string& name);

  /// As after a second signal: it waits for nothing.
  void ShutDown();

  static v1::Job Noop(const std::string& payload = "");
  static v1::Job Sleep(int seconds);

  const TempDir state_;
  std::unique_ptr<App> app_;
  std::unique_ptr<v1::JobService::Stub> jobs_;
  std::unique_ptr<v1::ThreadService::Stub> threads_;
  std::unique_ptr<v1::PoolService::Stub> pools_;
  std::unique_ptr<v1::EchoService::Stub> echo_;
};

/// The google.rpc.Status in the details of `status`.
google::rpc::Status Details(const grpc::Status& status);

/// The reason in the one ErrorInfo of `status`; fails the test if there is not
/// exactly one, of domain jobpool.
v1::ErrorReason ReasonOf(const google::rpc::Status& status);

}  // namespace jobpool::testing
