#include <string>
#include <unistd.h>
#include <vector>

#include "absl/time/clock.h"
#include "server/service/echo_service.h"
#include "tests/integration/mini_server.h"
#include "tests/support/eventually.h"

namespace jobpool::testing {
namespace {

using Stream = grpc::ClientReaderWriter<v1::UppercaseTextRequest, v1::UppercaseTextResponse>;

/// One call of UppercaseText; cancelled, if it is still open, when it goes.
struct Call {
  explicit Call(v1::EchoService::Stub& stub, absl::Duration timeout = absl::InfiniteDuration()) {
    if (timeout != absl::InfiniteDuration()) context.set_deadline(absl::ToChronoTime(absl::Now() + timeout));
    stream = stub.UppercaseText(&context);
  }

  bool Say(const std::string& text) {
    v1::UppercaseTextRequest request;
    request.set_text(text);
    return stream->Write(request);
  }

  /// The next answer; `(over)` where there is none.
  std::string Hear() {
    v1::UppercaseTextResponse response;
    return stream->Read(&response) ? response.text() : "(over)";
  }

  grpc::ClientContext context;
  std::unique_ptr<Stream> stream;
};

class EchoTest : public MiniServer {};

TEST_F(EchoTest, OneMessage) {
  Call call(*echo_);
  EXPECT_TRUE(call.Say("hello, wörld ß 夜 [`{"));
  EXPECT_TRUE(call.stream->WritesDone());
  EXPECT_EQ(call.Hear(), "HELLO, WöRLD ß 夜 [`{");
  EXPECT_EQ(call.Hear(), "(over)");
  EXPECT_TRUE(call.stream->Finish().ok());
}

TEST_F(EchoTest, ManyMessagesInTheirOrder) {
  Call call(*echo_);
  const std::string large(1 << 20, 'x');
  for (int i = 0; i < 2'000; ++i) {
    ASSERT_TRUE(call.Say("a" + std::to_string(i)));
    ASSERT_EQ(call.Hear(), "A" + std::to_string(i));
  }
  ASSERT_TRUE(call.Say(large));
  EXPECT_EQ(call.Hear(), std::string(1 << 20, 'X'));
  ASSERT_TRUE(call.Say(""));
  EXPECT_EQ(call.Hear(), "");
  call.stream->WritesDone();
  EXPECT_EQ(call.Hear(), "(over)");
  EXPECT_TRUE(call.stream->Finish().ok());
}

TEST_F(EchoTest, NoMessageIsNoError) {
  Call call(*echo_);
  call.stream->WritesDone();
  EXPECT_EQ(call.Hear(), "(over)");
  EXPECT_TRUE(call.stream->Finish().ok());
}

TEST_F(EchoTest, ACancelledCallFreesItsPlace) {
  for (int i = 0; i < 3; ++i) {
    Call call(*echo_);
    ASSERT_TRUE(call.Say("a"));
    EXPECT_EQ(call.Hear(), "A");
    call.context.TryCancel();
    EXPECT_EQ(call.Hear(), "(over)");
    EXPECT_EQ(call.stream->Finish().error_code(), grpc::StatusCode::CANCELLED);
  }
}

TEST_F(EchoTest, ReadsNoFurtherThanTheAnswersAreTaken) {
  // Nobody hears: the answers fill the connection's windows, then the messages do, then writing waits.
  constexpr int kMany = 256;
  Call call(*echo_, absl::Seconds(1));
  const std::string large(1 << 20, 'x');
  int said = 0;
  while (said < kMany && call.Say(large)) ++said;
  EXPECT_LT(said, kMany);
  call.stream->Finish();
}

TEST_F(EchoTest, TheLastPlaceIsNumber1000) {
  std::vector<std::unique_ptr<Call>> calls;
  for (int i = 0; i < EchoService::kMaxCalls; ++i) calls.push_back(std::make_unique<Call>(*echo_));
  for (const auto& call : calls) {
    ASSERT_TRUE(call->Say("a"));
    ASSERT_EQ(call->Hear(), "A");
  }
  {
    Call refused(*echo_, absl::Seconds(10));
    refused.Say("a");
    EXPECT_EQ(refused.Hear(), "(over)");
    const grpc::Status status = refused.stream->Finish();
    EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
    EXPECT_EQ(ReasonOf(Details(status)), v1::TOO_MANY_CALLS);
  }
  calls.front()->stream->WritesDone();
  EXPECT_TRUE(calls.front()->stream->Finish().ok());
  EXPECT_TRUE(Eventually([&] {  // the place is free after the call's end, a moment later
    Call next(*echo_);
    return next.Say("a") && next.Hear() == "A";
  }));
  for (const auto& call : calls) call->context.TryCancel();
}

TEST_F(EchoTest, ShutdownEndsOpenCalls) {
  Call open(*echo_);
  ASSERT_TRUE(open.Say("a"));
  ASSERT_EQ(open.Hear(), "A");
  const absl::Time start = absl::Now();
  ShutDown();
  EXPECT_LT(absl::Now() - start, absl::Seconds(1));  // no waiting for the grace of the server's own end
  EXPECT_EQ(open.Hear(), "(over)");
  const grpc::Status status = open.stream->Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(ReasonOf(Details(status)), v1::SHUTTING_DOWN);
}

}  // namespace
}  // namespace jobpool::testing
