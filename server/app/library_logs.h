#pragma once

namespace jobpool {

/// What gRPC and Protobuf have to say goes to our log, at level debug: most of it
/// is about what clients sent. REQUIRES: called before gRPC is used.
void SendLibraryLogsToOurs();

/// From now on gRPC's errors are warnings. Not before the server serves: while it
/// starts, what goes wrong is said once, by us.
void ShowGrpcErrors();

}  // namespace jobpool
