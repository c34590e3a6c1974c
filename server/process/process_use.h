#pragma once

namespace jobpool {

/// Which process may do a task, after what it has done before.
enum class ProcessUse : unsigned char {
  kBuiltIn,  // one that has done nothing but the server's own kinds
  kReused,   // one that has done nothing but tasks of this sort: of code that is not ours
  kFresh,    // one that has done nothing, and will do nothing after
};

}  // namespace jobpool
