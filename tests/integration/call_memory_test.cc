// What open calls hold together has a bound.

#include <memory>
#include <vector>

#include "tests/integration/mini_server.h"
#include "tests/support/eventually.h"

namespace jobpool::testing {
namespace {

constexpr int64_t kMaxCallBytes = int64_t{1} << 20;
constexpr int kOpenCalls = kMaxCallBytes / CallMemory::kOpenCallBytes;

ConfigFile SmallCallMemory() {
  ConfigFile config = ConfigFile::Default();
  config.max_call_bytes = kMaxCallBytes;
  return config;
}

class CallMemoryTest : public MiniServer {
 protected:
  CallMemoryTest() : MiniServer(SmallCallMemory()) {}

  // OK, or the reason of the refusal.
  std::string TryGet(const std::string& name) {
    grpc::ClientContext context;
    v1::GetJobRequest request;
    request.set_name(name);
    v1::Job job;
    const grpc::Status status = jobs_->GetJob(&context, request, &job);
    return status.ok() ? "OK" : v1::ErrorReason_Name(ReasonOf(Details(status)));
  }
};

struct OpenCall {
  grpc::ClientContext context;
  v1::RunJobRequest request;
  v1::Job job;
  grpc::Status status;
  Gate done;
};

TEST_F(CallMemoryTest, OpenCallsAreCountedAndGivenBack) {
  std::vector<std::shared_ptr<OpenCall>> calls;
  for (int i = 0; i < kOpenCalls + 1; ++i) {
    auto call = std::make_shared<OpenCall>();
    *call->request.mutable_job() = Sleep(3600);
    jobs_->async()->RunJob(&call->context, &call->request, &call->job, [call](grpc::Status status) {
      call->status = std::move(status);
      call->done.Open();
    });
    calls.push_back(std::move(call));
  }
  // One of them is too many; which, is left to chance.
  std::shared_ptr<OpenCall> refused;
  EXPECT_TRUE(Eventually([&] {
    for (const auto& call : calls) {
      if (call->done.IsOpen()) refused = call;
    }
    return refused != nullptr;
  }));
  ASSERT_NE(refused, nullptr);
  EXPECT_EQ(refused->status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(ReasonOf(Details(refused->status)), v1::TOO_MANY_CALLS);
  for (const auto& call : calls) call->context.TryCancel();
  for (const auto& call : calls) EXPECT_TRUE(call->done.Await());
  // They are given back when gRPC has let go of them.
  EXPECT_TRUE(Eventually([&] {
    grpc::ClientContext context;
    v1::RunJobRequest request;
    *request.mutable_job() = Noop();
    v1::Job job;
    return jobs_->RunJob(&context, request, &job).ok();
  }));
}

TEST_F(CallMemoryTest, ALargeAnswerThatDoesNotFitIsRefused) {
  const std::string small = Submit(Noop(std::string(kMaxCallBytes / 4, 'x'))).name();
  EXPECT_EQ(TryGet(small), "OK");
  const std::string large = Submit(Noop(std::string(kMaxCallBytes - 200, 'x'))).name();
  // Payload and result: more than may be held at all.
  EXPECT_TRUE(Eventually([&] { return TryGet(large) == "TOO_MANY_CALLS"; }));
  EXPECT_EQ(TryGet(small), "OK");
}

}  // namespace
}  // namespace jobpool::testing
