// Errors, from gRPC's status to what the user sees: the library's part and the
// CLI's exit status.

#include <google/rpc/error_details.pb.h>
#include <google/rpc/status.pb.h>
#include <gtest/gtest.h>

#include "client/cli/exit_status.h"
#include "client/jobpool/grpc_status.h"
#include "jobpool/client.h"
#include "jobpool/errors.h"

namespace jobpool {
namespace {

using cli::ExitStatus;
using cli::ExitStatusOf;

/// As a server of ours would send it.
grpc::Status WithDetails(grpc::StatusCode code, const std::string& message,
                         const std::vector<const google::protobuf::Message*>& details) {
  google::rpc::Status status;
  for (const google::protobuf::Message* detail : details) status.add_details()->PackFrom(*detail);
  return grpc::Status(code, message, status.SerializeAsString());
}

TEST(GrpcStatusTest, KeepsCodeMessageAndDetails) {
  google::rpc::ErrorInfo info;
  info.set_reason("QUEUE_FULL");
  google::rpc::RetryInfo retry;
  retry.mutable_retry_delay()->set_seconds(1);
  const absl::Status status =
      ToAbslStatus(WithDetails(grpc::StatusCode::RESOURCE_EXHAUSTED, "full", {&info, &retry}), "h:1");
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(status.message(), "full");
  EXPECT_TRUE(status.GetPayload("type.googleapis.com/google.rpc.ErrorInfo").has_value());
  ASSERT_TRUE(FindDetail<google::rpc::RetryInfo>(status).has_value());
  EXPECT_EQ(FindDetail<google::rpc::RetryInfo>(status)->retry_delay().seconds(), 1);
  EXPECT_FALSE(FindDetail<google::rpc::BadRequest>(status).has_value());
}

TEST(GrpcStatusTest, ServersOwnUnavailableKeepsItsMessage) {
  google::rpc::ErrorInfo info;
  EXPECT_EQ(
      ToAbslStatus(WithDetails(grpc::StatusCode::UNAVAILABLE, "shutting down", {&info}), "h:1").message(),
      "shutting down");
}

TEST(GrpcStatusTest, NamesTheAddressThatWasNotReached) {
  EXPECT_EQ(
      ToAbslStatus(grpc::Status(grpc::StatusCode::UNAVAILABLE,
                                "failed to connect to all addresses; last error: UNKNOWN: ipv4:1.2.3.4:5: "
                                "Failed to connect to remote host: Connection refused"),
                   "h:1")
          .message(),
      "cannot reach h:1: Connection refused");
  EXPECT_EQ(ToAbslStatus(grpc::Status(grpc::StatusCode::UNAVAILABLE, "Socket closed"), "h:1").message(),
            "cannot reach h:1: Socket closed");
  EXPECT_EQ(
      ToAbslStatus(grpc::Status(grpc::StatusCode::DEADLINE_EXCEEDED, "Deadline Exceeded"), "h:1").message(),
      "no answer from h:1 within the time given");
}

TEST(GrpcStatusTest, DetailsThatDoNotParseAreLeftOut) {
  const absl::Status status =
      ToAbslStatus(grpc::Status(grpc::StatusCode::INTERNAL, "broken", "\xff\xff"), "h:1");
  EXPECT_EQ(status, absl::InternalError("broken"));
}

TEST(FormatErrorTest, ListsViolationsAndWhenToTryAgain) {
  google::rpc::BadRequest bad_request;
  auto& violation = *bad_request.add_field_violations();
  violation.set_field("job.sleep.duration");
  violation.set_description("must be 0 to 7 days\x1b");
  google::rpc::RetryInfo retry;
  retry.mutable_retry_delay()->set_nanos(500'000'000);
  const absl::Status status = ToAbslStatus(
      WithDetails(grpc::StatusCode::INVALID_ARGUMENT, "bad request", {&bad_request, &retry}), "");
  EXPECT_EQ(FormatError(status),
            "error: bad request\n  job.sleep.duration: must be 0 to 7 days\\x1b\n  try again in 500ms\n");
}

TEST(FormatErrorTest, DoesNotSayTheSameTwice) {
  google::rpc::BadRequest bad_request;
  for (const char* field : {"job.pool", "job.daemon"}) {
    auto& violation = *bad_request.add_field_violations();
    violation.set_field(field);
    violation.set_description("is wrong");
  }
  const absl::Status status =
      ToAbslStatus(WithDetails(grpc::StatusCode::INVALID_ARGUMENT, "job.pool: is wrong", {&bad_request}), "");
  EXPECT_EQ(FormatError(status), "error: job.pool: is wrong\n  job.daemon: is wrong\n");
}

TEST(FormatErrorTest, WithoutAMessageTheCodeStandsForIt) {
  EXPECT_EQ(FormatError(absl::NotFoundError("")), "error: NOT_FOUND\n");
}

TEST(ExitStatusTest, OfEachCode) {
  EXPECT_EQ(ExitStatusOf(absl::OkStatus()), ExitStatus::kDone);
  EXPECT_EQ(ExitStatusOf(absl::InvalidArgumentError("")), ExitStatus::kUsage);
  EXPECT_EQ(ExitStatusOf(absl::DeadlineExceededError("")), ExitStatus::kTimeout);
  EXPECT_EQ(ExitStatusOf(absl::NotFoundError("")), ExitStatus::kNotFound);
  for (const absl::Status& status :
       {absl::UnavailableError(""), absl::ResourceExhaustedError(""), absl::FailedPreconditionError(""),
        absl::AlreadyExistsError(""), absl::PermissionDeniedError(""), absl::InternalError("")}) {
    EXPECT_EQ(ExitStatusOf(status), ExitStatus::kRefused) << status;
  }
}

TEST(ClientTest, KnowsAddressesFromMistakes) {
  for (const char* address : {"127.0.0.1:50051", "localhost:1", "[::1]:65535", "unix:/run/x",
                              "unix-abstract:x", "dns:///host:1", "ipv4:127.0.0.1:1"}) {
    EXPECT_TRUE(Client::Create(address).ok()) << address;
  }
  for (const char* address : {"", "host", ":50051", "host:", "host:0", "host:65536", "host:http", "::1:50051",
                              "unix:", "http://h:80x"}) {
    EXPECT_EQ(Client::Create(address).status().code(), absl::StatusCode::kInvalidArgument) << address;
  }
}

TEST(ClientTest, ARefusedConnectionFailsAtOnce) {
  const auto client = Client::Create("unix:/nonexistent/socket");
  ASSERT_TRUE(client.ok());
  const absl::Status status = (*client)->ListPools(v1::ListPoolsRequest()).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(status.message(), "cannot reach unix:/nonexistent/socket: No such file or directory");
}

}  // namespace
}  // namespace jobpool
