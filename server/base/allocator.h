#pragma once

namespace jobpool {

/// Gives memory back to the system that the allocator keeps for later. Takes as long as that is much: for
/// who has let go of a lot. Thread-safe.
void ReturnFreeMemory();

}  // namespace jobpool
