#pragma once

#include <initializer_list>
#include <memory>
#include <string>

#include <grpcpp/grpcpp.h>

#include "absl/strings/str_cat.h"

namespace jobpool::cli {

/// Fakes of services, served on loopback. Not thread-safe.
class FakeServer {
 public:
  /// `services` outlive it.
  FakeServer(std::initializer_list<grpc::Service*> services) {
    grpc::ServerBuilder builder;
    int port = 0;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
    for (grpc::Service* const service : services) builder.RegisterService(service);
    server_ = builder.BuildAndStart();
    address_ = absl::StrCat("127.0.0.1:", port);
  }

  const std::string& address() const { return address_; }

  /// From then on nobody listens there.
  void Stop() {
    server_->Shutdown();
    server_.reset();
  }

 private:
  std::unique_ptr<grpc::Server> server_;
  std::string address_;
};

}  // namespace jobpool::cli
