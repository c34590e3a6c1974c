#include "tests/integration/mini_server.h"

#include <chrono>
#include <thread>
#include <unistd.h>
#include <utility>

#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>

#include "google/rpc/error_details.pb.h"
#include "server/telemetry/log.h"

namespace jobpool::testing {

MiniServer::MiniServer(ConfigFile file) {
  EXPECT_TRUE(InitLog("warn").ok());
  Config config;
  config.grpc_listen = "127.0.0.1:0";
  config.http_listen = "127.0.0.1:0";
  config.state_dir = state_.Path("state");
  auto files = std::make_unique<Files>(std::move(file));
  auto stores = Stores::Open(config, static_cast<size_t>(files->config().max_ended_jobs),
                             static_cast<size_t>(files->config().max_ended_bytes));
  EXPECT_TRUE(stores.ok()) << stores.status();
  app_ = std::make_unique<App>(std::move(config), std::move(files), *std::move(stores));
  const absl::Status started = app_->Start();
  EXPECT_TRUE(started.ok()) << started.message();
  const auto channel = NewChannel();
  jobs_ = v1::JobService::NewStub(channel);
  threads_ = v1::ThreadService::NewStub(channel);
  pools_ = v1::PoolService::NewStub(channel);
  echo_ = v1::EchoService::NewStub(channel);
}

MiniServer::~MiniServer() {
  int hurry[2];
  EXPECT_EQ(pipe(hurry), 0);
  close(hurry[1]);  // readable from the start: nobody waits for what a test left behind
  EXPECT_TRUE(app_->Shutdown(hurry[0]));
  close(hurry[0]);
}

std::shared_ptr<grpc::Channel> MiniServer::NewChannel(grpc::ChannelArguments arguments) const {
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  auto channel =
      grpc::CreateCustomChannel(app_->grpc_address(), grpc::InsecureChannelCredentials(), arguments);
  // A call does not wait for a second attempt, and the first may fail where many connect at once: gRPC 1.51
  // looks at the errno of connect() after what may have changed it (grpc/grpc, pull request 35064).
  EXPECT_TRUE(channel->WaitForConnected(std::chrono::system_clock::now() + std::chrono::seconds(30)));
  return channel;
}

v1::Job MiniServer::Submit(const v1::Job& job) {
  grpc::ClientContext context;
  v1::SubmitJobRequest request;
  *request.mutable_job() = job;
  v1::Job submitted;
  const grpc::Status status = jobs_->SubmitJob(&context, request, &submitted);
  EXPECT_TRUE(status.ok()) << status.error_message();
  return submitted;
}

v1::Job MiniServer::Wait(const std::string& name) {
  grpc::ClientContext context;
  v1::WaitJobsRequest request;
  request.add_names(name);
  v1::WaitJobsResponse response;
  const grpc::Status status = jobs_->WaitJobs(&context, request, &response);
  EXPECT_TRUE(status.ok()) << status.error_message();
  EXPECT_FALSE(response.timed_out());
  return response.jobs_size() == 1 ? response.jobs(0) : v1::Job();
}

void MiniServer::AwaitRunning(const std::string& name) {
  for (;;) {
    const v1::Job job = Get(name);
    if (job.state() == v1::Job::RUNNING) return;
    ASSERT_EQ(job.state(), v1::Job::QUEUED);
    std::this_thread::yield();
  }
}

v1::Job MiniServer::Get(const std::string& name) {
  grpc::ClientContext context;
  v1::GetJobRequest request;
  request.set_name(name);
  v1::Job job;
  const grpc::Status status = jobs_->GetJob(&context, request, &job);
  EXPECT_TRUE(status.ok()) << status.error_message();
  return job;
}

grpc::Status MiniServer::Cancel(const std::string& name) {
  grpc::ClientContext context;
  v1::CancelJobRequest request;
  request.set_name(name);
  v1::Job job;
  return jobs_->CancelJob(&context, request, &job);
}

void MiniServer::ShutDown() {
  int hurry[2];
  ASSERT_EQ(pipe(hurry), 0);
  close(hurry[1]);
  EXPECT_TRUE(app_->Shutdown(hurry[0]));
  close(hurry[0]);
}

v1::Job MiniServer::Noop(const std::string& payload) {
  v1::Job job;
  job.mutable_noop()->set_payload(payload);
  return job;
}

v1::Job MiniServer::Sleep(int seconds) {
  v1::Job job;
  job.mutable_sleep()->mutable_duration()->set_seconds(seconds);
  return job;
}

google::rpc::Status Details(const grpc::Status& status) {
  google::rpc::Status details;
  EXPECT_TRUE(details.ParseFromString(status.error_details()));
  EXPECT_EQ(details.code(), status.error_code());
  return details;
}

v1::ErrorReason ReasonOf(const google::rpc::Status& status) {
  int count = 0;
  v1::ErrorReason reason = v1::ERROR_REASON_UNSPECIFIED;
  for (const auto& detail : status.details()) {
    google::rpc::ErrorInfo info;
    if (!detail.UnpackTo(&info)) continue;
    ++count;
    EXPECT_EQ(info.domain(), "jobpool");
    EXPECT_TRUE(v1::ErrorReason_Parse(info.reason(), &reason)) << info.reason();
  }
  EXPECT_EQ(count, 1);
  return reason;
}

}  // namespace jobpool::testing
