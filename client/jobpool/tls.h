#pragma once

#include <memory>

#include <grpcpp/security/credentials.h>

#include "absl/status/statusor.h"
#include "jobpool/client.h"

namespace jobpool {

/// Credentials for a connection as `files` says: plain where none is named. The
/// files are read once, here. INVALID_ARGUMENT: one cannot be read or holds
/// something else than it should. Not installed: of the library only.
absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> MakeCredentials(const TlsFiles& files);

}  // namespace jobpool
