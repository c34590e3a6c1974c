#include "server/store/file_lock.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"

namespace jobpool {
namespace {

absl::Status CannotLock(const std::string& path) {
  return absl::UnavailableError(absl::StrCat("cannot lock ", path, ": ", std::strerror(errno)));
}

// Who holds it has written its process id.
std::string Holder(int descriptor) {
  char text[32];
  const ssize_t size = pread(descriptor, text, sizeof(text), 0);
  const absl::string_view pid =
      absl::StripAsciiWhitespace(absl::string_view(text, size > 0 ? static_cast<size_t>(size) : 0));
  return pid.empty() ? "" : absl::StrCat(" (pid ", pid, ")");
}

}  // namespace

absl::StatusOr<FileLock> FileLock::Take(const std::string& path, const std::string& what) {
  const int descriptor = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (descriptor < 0) return CannotLock(path);
  FileLock lock(descriptor);
  if (flock(descriptor, LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return CannotLock(path);
    return absl::FailedPreconditionError(
        absl::StrCat(what, " is in use by another server", Holder(descriptor)));
  }
  const std::string pid = absl::StrCat(getpid(), "\n");
  // For the message alone: a full disk is no reason not to start.
  if (ftruncate(descriptor, 0) == 0) (void)!pwrite(descriptor, pid.data(), pid.size(), 0);
  return lock;
}

// The file stays: if it went, two servers could each lock one of that name.
FileLock::~FileLock() {
  if (descriptor_ >= 0) close(descriptor_);
}

FileLock::FileLock(FileLock&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}

}  // namespace jobpool
