// The ceiling: a gRPC server that answers an empty unary call with DefaultReactor, gives back what comes on a
// stream or in a batch, and does nothing else. Prints the port that it serves on; ends when its standard
// input does.

#include <cstdio>
#include <unistd.h>

#include <grpc/grpc.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server_builder.h>

#include "bare.grpc.pb.h"

namespace {

using jobpool::bench::Batch;
using jobpool::bench::Message;
using jobpool::v1::BatchSubmitJobsRequest;
using jobpool::v1::Job;
using jobpool::v1::RunJobRequest;

class Echo final : public grpc::ServerBidiReactor<Message, Message> {
 public:
  Echo() { StartRead(&message_); }

 private:
  void OnReadDone(bool ok) override {
    if (!ok) return Finish(grpc::Status::OK);
    StartWrite(&message_);
  }
  void OnWriteDone(bool ok) override {
    if (!ok) return Finish(grpc::Status::OK);
    StartRead(&message_);
  }
  void OnDone() override { delete this; }

  Message message_;
};

class BareService final : public jobpool::bench::BareService::CallbackService {
  grpc::ServerUnaryReactor* Call(grpc::CallbackServerContext* context, const google::protobuf::Empty*,
                                 google::protobuf::Empty*) override {
    grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
    reactor->Finish(grpc::Status::OK);
    return reactor;
  }

  grpc::ServerUnaryReactor* SetAnswer(grpc::CallbackServerContext* context, const Job* request,
                                      google::protobuf::Empty*) override {
    answer_ = *request;
    grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
    reactor->Finish(grpc::Status::OK);
    return reactor;
  }

  grpc::ServerUnaryReactor* RunNothing(grpc::CallbackServerContext* context, const RunJobRequest*,
                                       Job* response) override {
    *response = answer_;
    grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
    reactor->Finish(grpc::Status::OK);
    return reactor;
  }

  grpc::ServerBidiReactor<Message, Message>* EchoStream(grpc::CallbackServerContext*) override {
    return new Echo;
  }

  grpc::ServerUnaryReactor* EchoBatch(grpc::CallbackServerContext* context, const Batch* request,
                                      Batch* response) override {
    return GiveBack(context, request, response);
  }

  grpc::ServerUnaryReactor* EchoSubmissions(grpc::CallbackServerContext* context,
                                            const BatchSubmitJobsRequest* request,
                                            BatchSubmitJobsRequest* response) override {
    return GiveBack(context, request, response);
  }

  template <typename Any>
  static grpc::ServerUnaryReactor* GiveBack(grpc::CallbackServerContext* context, const Any* request,
                                            Any* response) {
    // Nobody else looks at the request: the ceiling copies nothing.
    response->Swap(const_cast<Any*>(request));
    grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
    reactor->Finish(grpc::Status::OK);
    return reactor;
  }

  Job answer_;
};

}  // namespace

int main() {
  BareService service;
  grpc::ServerBuilder builder;
  int port = 0;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
  builder.RegisterService(&service);
  const std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  std::printf("127.0.0.1:%d\n", port);
  std::fflush(stdout);
  char byte = 0;
  while (read(STDIN_FILENO, &byte, 1) > 0) {
  }
  return 0;
}
