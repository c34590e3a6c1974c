#pragma once

#include <string>

namespace jobpool {

/// Removes a folder of ours and all that is in it, also what is closed to its owner, without going out of it:
/// no link is followed, and whoever changes it meanwhile gains nothing. Takes two descriptors, however deep
/// it is. Returns false if something is left.
bool RemoveFolder(const std::string& folder);

}  // namespace jobpool
