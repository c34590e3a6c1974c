#include "tests/bench/bare_calls.h"

#include <atomic>
#include <cstdlib>
#include <future>

#include <grpcpp/client_context.h>

namespace jobpool::bench {
namespace {

template <typename Request, typename Response = Request>
struct Call {
  grpc::ClientContext context;
  Request request;
  Response response;
};

}  // namespace

StartCall BareCalls(BareService::Stub& stub) {
  return [&stub](std::function<void(bool)> done) {
    auto* const call = new Call<google::protobuf::Empty>;
    stub.async()->Call(&call->context, &call->request, &call->response,
                       [call, done = std::move(done)](const grpc::Status& status) {
                         const bool ok = status.ok();
                         delete call;
                         done(ok);
                       });
  };
}

StartCall RunNothingCalls(BareService::Stub& stub, const v1::Job& answer) {
  grpc::ClientContext context;
  google::protobuf::Empty set;
  if (!stub.SetAnswer(&context, answer, &set).ok()) std::abort();
  return [&stub](std::function<void(bool)> done) {
    auto* const call = new Call<v1::RunJobRequest, v1::Job>;
    call->request.mutable_job()->mutable_noop();
    stub.async()->RunNothing(&call->context, &call->request, &call->response,
                             [call, done = std::move(done)](const grpc::Status& status) {
                               const bool ok = status.ok() && call->response.state() == v1::Job::SUCCEEDED;
                               delete call;
                               done(ok);
                             });
  };
}

StartCall BatchEchoCalls(BareService::Stub& stub, int count, const std::string& payload) {
  return [&stub, count, payload](std::function<void(bool)> done) {
    auto* const call = new Call<Batch>;
    for (int i = 0; i < count; ++i) call->request.add_messages()->set_payload(payload);
    stub.async()->EchoBatch(&call->context, &call->request, &call->response,
                            [call, count, done = std::move(done)](const grpc::Status& status) {
                              const bool ok = status.ok() && call->response.messages_size() == count;
                              delete call;
                              done(ok);
                            });
  };
}

StartCall SubmissionEchoCalls(BareService::Stub& stub, int count) {
  using Submissions = v1::BatchSubmitJobsRequest;
  return [&stub, count](std::function<void(bool)> done) {
    auto* const call = new Call<Submissions>;
    for (int i = 0; i < count; ++i) call->request.add_requests()->mutable_job()->mutable_noop();
    stub.async()->EchoSubmissions(&call->context, &call->request, &call->response,
                                  [call, count, done = std::move(done)](const grpc::Status& status) {
                                    const bool ok = status.ok() && call->response.requests_size() == count;
                                    delete call;
                                    done(ok);
                                  });
  };
}

class EchoStreams::Stream final : public grpc::ClientBidiReactor<Message, Message> {
 public:
  Stream(EchoStreams& owner, BareService::Stub& stub, const std::string& payload) : owner_(owner) {
    request_.set_payload(payload);
    stub.async()->EchoStream(&context_, this);
    AddHold();  // for what is started outside of reactions
    StartCall();
  }
  ~Stream() override {
    context_.TryCancel();
    RemoveHold();
    ended_->get_future().wait();
  }

  void Send(std::function<void(bool)> done) {
    done_ = std::move(done);
    left_ = 2;
    StartRead(&response_);
    StartWrite(&request_);
  }

 private:
  void OnReadDone(bool ok) override { PartDone(ok); }
  void OnWriteDone(bool ok) override { PartDone(ok); }
  void OnDone(const grpc::Status&) override {
    const auto ended = ended_;  // this goes as it is set
    ended->set_value();
  }

  // Written, and come back: the stream is free once it is both.
  void PartDone(bool ok) {
    if (!ok) ok_ = false;
    if (left_.fetch_sub(1) > 1) return;
    const std::function<void(bool)> done = std::move(done_);
    {
      const std::lock_guard<std::mutex> lock(owner_.mu_);
      owner_.free_.push_back(this);
    }
    done(ok_);
  }

  EchoStreams& owner_;
  grpc::ClientContext context_;
  Message request_;
  Message response_;
  std::atomic<int> left_{0};
  std::atomic<bool> ok_{true};
  std::function<void(bool)> done_;
  const std::shared_ptr<std::promise<void>> ended_ = std::make_shared<std::promise<void>>();
};

EchoStreams::EchoStreams(BareService::Stub& stub, int streams, const std::string& payload) {
  for (int i = 0; i < streams; ++i) {
    streams_.push_back(std::make_unique<Stream>(*this, stub, payload));
    free_.push_back(streams_.back().get());
  }
}

EchoStreams::~EchoStreams() = default;

StartCall EchoStreams::Calls() {
  return [this](std::function<void(bool)> done) {
    Stream* stream = nullptr;
    {
      const std::lock_guard<std::mutex> lock(mu_);
      stream = free_.back();
      free_.pop_back();
    }
    stream->Send(std::move(done));
  };
}

}  // namespace jobpool::bench
