#include "server/base/allocator.h"

#include <cstddef>
#include <malloc.h>

// The server links jemalloc, tests and tools may not.
extern "C" {
__attribute__((weak)) int mallctl(const char* name, void* old, size_t* old_size, void* now, size_t now_size);
// What is given back is given back as addresses too: those of a process can be limited (RLIMIT_AS).
__attribute__((visibility("default"))) const char* malloc_conf = "retain:false";
}

namespace jobpool {

void ReturnFreeMemory() {
  if (mallctl != nullptr) {
    // 4096: MALLCTL_ARENAS_ALL of jemalloc.h.
    mallctl("arena.4096.purge", nullptr, nullptr, nullptr, 0);
  } else {
    malloc_trim(0);
  }
}

}  // namespace jobpool
