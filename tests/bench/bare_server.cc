// The ceiling: a gRPC server that answers unary calls with DefaultReactor, empty or with what came, and does
// nothing else. Prints the port that it serves on; ends when its standard input does.

#include <cstdio>
#include <unistd.h>

#include <grpc/grpc.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server_builder.h>

#include "bare.grpc.pb.h"

namespace {

class BareService final : public jobpool::bench::BareService::CallbackService {
  grpc::ServerUnaryReactor* Call(grpc::CallbackServerContext* context, const google::protobuf::Empty*,
                                 google::protobuf::Empty*) override {
    grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
    reactor->Finish(grpc::Status::OK);
    return reactor;
  }
  grpc::ServerUnaryReactor* Echo(grpc::CallbackServerContext* context, const jobpool::bench::Batch* request,
                                 jobpool::bench::Batch* response) override {
    *response = *request;
    grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
    reactor->Finish(grpc::Status::OK);
    return reactor;
  }
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
