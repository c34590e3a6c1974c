#include "tests/bench/job_server.h"

#include <cstdlib>

#include <grpcpp/client_context.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>

namespace jobpool::bench {
namespace {

std::vector<std::string> Command(const std::string& jobpoold, const std::vector<std::string>& flags) {
  std::vector<std::string> command = {jobpoold, "--grpc_listen=127.0.0.1:0", "--http_listen=127.0.0.1:0"};
  command.insert(command.end(), flags.begin(), flags.end());
  return command;
}

template <typename Request>
struct JobCall {
  grpc::ClientContext context;
  Request request;
  v1::Job response;
};

struct BatchCall {
  grpc::ClientContext submit_context;
  grpc::ClientContext wait_context;
  v1::BatchSubmitJobsRequest batch;
  v1::BatchSubmitJobsResponse submitted;
  v1::WaitJobsRequest wait;
  v1::WaitJobsResponse waited;
};

}  // namespace

std::shared_ptr<grpc::Channel> ConnectTo(const std::string& address) {
  return grpc::CreateChannel(address, grpc::InsecureChannelCredentials());
}

JobServer::JobServer(const std::string& jobpoold, const std::vector<std::string>& flags)
    : child_(Command(jobpoold, flags), 2, "serving grpc="),
      channel_(ConnectTo(child_.address())),
      jobs_(v1::JobService::NewStub(channel_)) {}

v1::Job JobServer::RunNoop() const {
  JobCall<v1::RunJobRequest> call;
  call.request.mutable_job()->mutable_noop();
  if (!jobs_->RunJob(&call.context, call.request, &call.response).ok()) std::abort();
  return call.response;
}

int JobServer::http_port() const {
  const std::string address = child_.After(" http=");
  return std::atoi(address.substr(address.rfind(':') + 1).c_str());
}

StartCall RunJobCalls(v1::JobService::Stub& stub) {
  return [&stub](std::function<void(bool)> done) {
    auto* const call = new JobCall<v1::RunJobRequest>;
    call->request.mutable_job()->mutable_noop();
    stub.async()->RunJob(&call->context, &call->request, &call->response,
                         [call, done = std::move(done)](const grpc::Status& status) {
                           const bool ok = status.ok() && call->response.state() == v1::Job::SUCCEEDED;
                           delete call;
                           done(ok);
                         });
  };
}

StartCall SubmitJobCalls(v1::JobService::Stub& stub) {
  return [&stub](std::function<void(bool)> done) {
    auto* const call = new JobCall<v1::SubmitJobRequest>;
    call->request.mutable_job()->mutable_noop();
    stub.async()->SubmitJob(&call->context, &call->request, &call->response,
                            [call, done = std::move(done)](const grpc::Status& status) {
                              const bool ok = status.ok();
                              delete call;
                              done(ok);
                            });
  };
}

StartCall BatchCalls(v1::JobService::Stub& stub) {
  return [&stub](std::function<void(bool)> done) {
    auto* const call = new BatchCall;
    for (int i = 0; i < kBatch; ++i) call->batch.add_requests()->mutable_job()->mutable_noop();
    const auto end = [call, done = std::move(done)](bool ok) {
      delete call;
      done(ok);
    };
    const auto wait = [&stub, call, end](const grpc::Status& submitted) {
      if (!submitted.ok()) return end(false);
      for (const v1::Job& job : call->submitted.jobs()) call->wait.add_names(job.name());
      stub.async()->WaitJobs(
          &call->wait_context, &call->wait, &call->waited,
          [call, end](const grpc::Status& waited) { end(waited.ok() && !call->waited.timed_out()); });
    };
    stub.async()->BatchSubmitJobs(&call->submit_context, &call->batch, &call->submitted, wait);
  };
}

}  // namespace jobpool::bench
