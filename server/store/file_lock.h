#pragma once

#include <string>

#include "absl/status/statusor.h"

namespace jobpool {

/// A file that one process holds at a time, until the object's end or its own.
class FileLock {
 public:
  /// Makes the file where it is not there. FAILED_PRECONDITION: another process, or
  /// another object, holds it; the message says of which process. UNAVAILABLE: it
  /// cannot be opened or locked. `what` is what it stands for, for messages.
  static absl::StatusOr<FileLock> Take(const std::string& path, const std::string& what);

  ~FileLock();
  FileLock(FileLock&& other) noexcept;
  FileLock& operator=(FileLock&&) = delete;

 private:
  explicit FileLock(int descriptor) : descriptor_(descriptor) {}

  int descriptor_;
};

}  // namespace jobpool
