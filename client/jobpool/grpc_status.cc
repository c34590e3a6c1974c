#include "client/jobpool/grpc_status.h"

#include <google/rpc/status.pb.h>

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace jobpool {
namespace {

/// The last reason of the chain that gRPC's message tells, from the general to the
/// particular: "failed to connect to all addresses; last error: UNKNOWN:
/// ipv4:127.0.0.1:1: Failed to connect to remote host: Connection refused".
absl::string_view LastReason(absl::string_view message, absl::string_view address) {
  for (absl::string_view introduction : {"; last error: ", "remote host: "}) {
    const size_t at = message.rfind(introduction);
    if (at != absl::string_view::npos) message.remove_prefix(at + introduction.size());
  }
  if (absl::ConsumePrefix(&message, "UNKNOWN: ")) absl::ConsumePrefix(&message, absl::StrCat(address, ": "));
  return message;
}

}  // namespace

absl::Status ToAbslStatus(const grpc::Status& status, absl::string_view address) {
  if (status.ok()) return absl::OkStatus();
  const auto code = static_cast<absl::StatusCode>(status.error_code());
  // Every error of the server's own carries details, so that one without is gRPC's.
  if (status.error_details().empty() && code == absl::StatusCode::kUnavailable) {
    return absl::Status(
        code, absl::StrCat("cannot reach ", address, ": ", LastReason(status.error_message(), address)));
  }
  if (status.error_details().empty() && code == absl::StatusCode::kDeadlineExceeded) {
    return absl::Status(code, absl::StrCat("no answer from ", address, " within the time given"));
  }
  absl::Status result(code, status.error_message());
  google::rpc::Status details;
  if (details.ParseFromString(status.error_details())) {
    for (const google::protobuf::Any& detail : details.details()) {
      result.SetPayload(detail.type_url(), absl::Cord(detail.value()));
    }
  }
  return result;
}

}  // namespace jobpool
