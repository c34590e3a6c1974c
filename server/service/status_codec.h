#pragma once

#include <grpcpp/support/status.h>

#include "absl/status/status.h"
#include "google/rpc/status.pb.h"

namespace jobpool {

/// `status` with its payloads as details, the ErrorInfo first.
google::rpc::Status EncodeStatus(const absl::Status& status);

/// The same for the end of a call, with the details in binary as gRPC's error
/// model has them.
grpc::Status ToGrpcStatus(const absl::Status& status);

}  // namespace jobpool
