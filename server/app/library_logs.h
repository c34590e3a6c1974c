#pragma once

namespace jobpool {

/// What gRPC and Protobuf have to say goes to our log, at level debug but for
/// their errors, which are warnings: most are about what clients sent.
void SendLibraryLogsToOurs();

}  // namespace jobpool
