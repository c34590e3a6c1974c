#pragma once

#include <sys/types.h>
#include <vector>

namespace jobpool {

/// The processes that have `pid` for a parent, from /proc.
std::vector<pid_t> ChildrenOf(pid_t pid);

/// Those, their children, and so on.
std::vector<pid_t> DescendantsOf(pid_t pid);

}  // namespace jobpool
