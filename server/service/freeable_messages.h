#pragma once

#include <grpcpp/support/message_allocator.h>

namespace jobpool {

/// Messages of a unary method whose request can be let go of before the call ends:
/// by `context->GetRpcAllocatorState()->FreeRequest()`, after which it is empty.
/// Otherwise gRPC keeps it until then. Thread-safe.
template <typename Request, typename Response>
class FreeableMessages final : public grpc::MessageAllocator<Request, Response> {
 public:
  grpc::MessageHolder<Request, Response>* AllocateMessages() override { return new Holder; }

 private:
  class Holder final : public grpc::MessageHolder<Request, Response> {
   public:
    Holder() {
      this->set_request(&request_);
      this->set_response(&response_);
    }
    void Release() override { delete this; }
    void FreeRequest() override {
      Request empty;
      empty.Swap(&request_);
    }

   private:
    Request request_;
    Response response_;
  };
};

}  // namespace jobpool
