#pragma once

#include <grpcpp/support/status.h>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace jobpool {

/// The same code and message, with the google.rpc details that the server sent
/// as payloads under their type URLs. Where gRPC itself ended the call, since
/// the server at `address` was not reached or did not answer, the message says
/// so and names the address, and what `tls` (whether it was asked for) may have
/// to do with it. Not installed: of the library only.
absl::Status ToAbslStatus(const grpc::Status& status, absl::string_view address, bool tls = false);

}  // namespace jobpool
