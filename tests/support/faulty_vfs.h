#pragma once

#include <atomic>
#include <cstdint>
#include <sqlite3.h>
#include <string>

namespace jobpool {

/// A file system for SQLite, on the usual one, of which a call that changes a file can
/// fail: a write (which then writes half), a sync, a change of size, an opening. It
/// does not synchronize, which only a machine's end would tell. One at a time;
/// thread-safe but for its making and end.
class FaultyVfs {
 public:
  enum class How { kOnce, kFromThenOn };

  FaultyVfs();
  ~FaultyVfs();
  FaultyVfs(const FaultyVfs&) = delete;
  FaultyVfs& operator=(const FaultyVfs&) = delete;

  static const char* Name() { return "jobpool_faulty"; }

  /// The call number `call` from now, from 0, fails with SQLite's `code`.
  void FailAt(int64_t call, int code, How how);
  void Heal();

  /// Since the last FailAt or Heal.
  int64_t calls() const { return calls_; }

  /// Counts a call. Whether it fails, and if so how; SQLITE_OK: it does not.
  int Next();

 private:
  sqlite3_vfs vfs_;
  std::atomic<int64_t> calls_{0};
  std::atomic<int64_t> fails_at_{-1};
  std::atomic<int> code_{SQLITE_OK};
  std::atomic<bool> goes_on_{false};
};

}  // namespace jobpool
