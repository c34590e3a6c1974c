#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace jobpool {

struct SqliteOptions {
  /// How many may read at a time; at least 2, since lists have all but one. Each has a
  /// connection.
  size_t readers = 4;
  /// What the writer keeps of the file in memory, in bytes.
  int64_t writer_cache_bytes = int64_t{16} << 20;
  /// What each reader keeps of it.
  int64_t reader_cache_bytes = int64_t{8} << 20;
  /// The log is taken over into the file when it is so large. Whoever writes then waits
  /// for that; the larger, the fewer pages are written twice.
  int64_t checkpoint_bytes = int64_t{32} << 20;
  /// SQLite's name for the file system; empty: the usual one. For tests.
  std::string vfs = {};
};

}  // namespace jobpool
