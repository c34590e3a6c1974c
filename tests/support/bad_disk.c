// A disk that is slow, or that can only be read, for tests: a library to preload (LD_PRELOAD). What happens
// to the files under the folder BAD_DISK_DIR is for the file BAD_DISK_CONTROL to say, which is read at each
// call:
//
//   slow MILLISECONDS   each fsync and fdatasync takes that long
//   read-only           what writes, creates or deletes fails with EROFS, as after errors=remount-ro
//
// and anything else, or no such file: nothing. (Linux remounts no file system read-only while files are open
// to be written.) Not covered: writev, pwritev, fallocate, rename, what is written through mmap, and what was
// opened by a path that is relative or has symbolic links in it.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "open_calls.h"

#if !defined(__linux__) || !defined(__LP64__)
#error "system calls are made as 64-bit Linux has them"
#endif

static bool IsOurs(const char* path) {
  const char* const folder = getenv("BAD_DISK_DIR");
  if (folder == NULL) return false;
  const size_t length = strlen(folder);
  return strncmp(path, folder, length) == 0 && (path[length] == '/' || path[length] == '\0');
}

static bool IsOursFd(int fd) {
  char link[64];
  char path[PATH_MAX];
  snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
  const ssize_t length = readlink(link, path, sizeof(path) - 1);
  if (length < 0) return false;
  path[length] = '\0';
  return IsOurs(path);
}

static void ReadControl(char* text, size_t size) {
  text[0] = '\0';
  const char* const control = getenv("BAD_DISK_CONTROL");
  const int fd = control == NULL ? -1 : (int)syscall(SYS_openat, AT_FDCWD, control, O_RDONLY | O_CLOEXEC, 0);
  if (fd < 0) return;
  const ssize_t length = read(fd, text, size - 1);
  text[length > 0 ? length : 0] = '\0';
  close(fd);
}

static bool Refuses(void) {
  char text[32];
  ReadControl(text, sizeof(text));
  if (strncmp(text, "read-only", 9) != 0) return false;
  errno = EROFS;
  return true;
}

static void BeSlow(int fd) {
  if (!IsOursFd(fd)) return;
  char text[32];
  ReadControl(text, sizeof(text));
  long milliseconds = 0;
  if (sscanf(text, "slow %ld", &milliseconds) != 1) return;
  struct timespec left = {milliseconds / 1000, milliseconds % 1000 * 1000000};
  while (nanosleep(&left, &left) != 0 && errno == EINTR) {
  }
}

static int Open(int directory, const char* path, int flags, mode_t mode) {
  const bool writes = (flags & O_ACCMODE) != O_RDONLY || (flags & (O_CREAT | O_TRUNC)) != 0;
  if (writes && IsOurs(path) && Refuses()) return -1;
  return (int)syscall(SYS_openat, directory, path, flags, mode);
}

ssize_t write(int fd, const void* bytes, size_t count) {
  return IsOursFd(fd) && Refuses() ? -1 : syscall(SYS_write, fd, bytes, count);
}

ssize_t pwrite(int fd, const void* bytes, size_t count, off_t offset) {
  return IsOursFd(fd) && Refuses() ? -1 : syscall(SYS_pwrite64, fd, bytes, count, offset);
}

ssize_t pwrite64(int fd, const void* bytes, size_t count, off64_t offset) {
  return pwrite(fd, bytes, count, offset);
}

int ftruncate(int fd, off_t size) {
  return IsOursFd(fd) && Refuses() ? -1 : (int)syscall(SYS_ftruncate, fd, size);
}

int ftruncate64(int fd, off64_t size) { return ftruncate(fd, size); }

int unlink(const char* path) {
  return IsOurs(path) && Refuses() ? -1 : (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
}

int fsync(int fd) {
  BeSlow(fd);
  return (int)syscall(SYS_fsync, fd);
}

int fdatasync(int fd) {
  BeSlow(fd);
  return (int)syscall(SYS_fdatasync, fd);
}
