#include "client/jobpool/grpc_status.h"

#include <string>

#include <google/rpc/status.pb.h>

#include "absl/strings/cord.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace jobpool {
namespace {

/// What gRPC puts between one reason of the chain and the next.
constexpr absl::string_view kConnecting = "; last error: ";

/// The last reason of the chain that gRPC's message tells, from the general to the
/// particular: "failed to connect to all addresses; last error: UNKNOWN:
/// ipv4:127.0.0.1:1: Failed to connect to remote host: Connection refused".
absl::string_view LastReason(absl::string_view message, absl::string_view address) {
  for (absl::string_view introduction : {kConnecting, absl::string_view("remote host: ")}) {
    const size_t at = message.rfind(introduction);
    if (at != absl::string_view::npos) message.remove_prefix(at + introduction.size());
  }
  for (absl::string_view code : {"UNKNOWN: ", "UNAVAILABLE: "}) absl::ConsumePrefix(&message, code);
  absl::ConsumePrefix(&message, absl::StrCat(address, ": "));
  for (absl::string_view scheme : {"ipv4:", "ipv6:", "unix:"}) {  // the address that it was resolved to
    const size_t end = message.find(": ");
    if (absl::StartsWith(message, scheme) && end != absl::string_view::npos) message.remove_prefix(end + 2);
  }
  return message;
}

/// The reason in words that say what to look at, where gRPC's own do not.
std::string Explain(absl::string_view message, absl::string_view address, bool tls) {
  absl::string_view reason = LastReason(message, address);
  if (absl::StartsWith(reason, "Ssl handshake failed")) {
    // "SSL_ERROR_SSL: error:0A000086:SSL routines::certificate verify failed"
    constexpr absl::string_view kRoutines = " routines:";
    const size_t at = reason.rfind(kRoutines);
    if (at != absl::string_view::npos) reason.remove_prefix(at + kRoutines.size());
    absl::ConsumePrefix(&reason, ":");
    absl::string_view hint;
    if (reason == "certificate verify failed") {
      hint = " (the server's has expired, or no authority that is trusted here signed it)";
    } else if (reason == "wrong version number") {
      hint = " (the server seems to serve without TLS)";
    }
    return absl::StrCat("TLS handshake failed: ", reason, hint);
  }
  // With TLS 1.3 the client is done before the server has looked at the client's certificate.
  const bool dropped = reason == "Socket closed" || absl::StrContains(reason, "Connection reset by peer") ||
                       absl::StrContains(reason, "Broken pipe");
  if (dropped && absl::StrContains(message, kConnecting)) {
    return tls ? "the server closed the connection at once; it may want a client certificate, or another one"
               : "the server closed the connection at once; it may want TLS";
  }
  return std::string(reason);
}

}  // namespace

absl::Status ToAbslStatus(const grpc::Status& status, absl::string_view address, bool tls) {
  if (status.ok()) return absl::OkStatus();
  const auto code = static_cast<absl::StatusCode>(status.error_code());
  // Every error of the server's own carries details, so that one without is gRPC's.
  if (status.error_details().empty() && code == absl::StatusCode::kUnavailable) {
    return absl::Status(
        code, absl::StrCat("cannot reach ", address, ": ", Explain(status.error_message(), address, tls)));
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
