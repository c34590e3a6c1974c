// What a power failure takes away, for tests: a library to preload (LD_PRELOAD) that notes, for the files
// under the folder LOST_WRITES_DIR, before each write what was there, in the file LOST_WRITES_JOURNAL, and
// what was synchronized since. When the process was killed, tests/e2e/crash_disk.py undoes from that all that
// was never synchronized: what the page cache had, and the disk need not have.
//
// Covered: open that creates, write, pwrite, ftruncate, unlink, fsync and fdatasync, also of the folder,
// without which created and unlinked names are lost. Ends the process, rather than miss something: O_TRUNC,
// rename, a write that cannot be noted. Not covered: writev, pwritev, fallocate, copy_file_range, link, what
// is written through mmap, and that the folder itself is new. Files that end in -shm or .lock are left out:
// nobody needs them after a crash.
//
// Both paths must be absolute and without symbolic links, on the same file system, the journal outside of the
// folder.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "open_calls.h"

#if !defined(__linux__) || !defined(__LP64__)
#error "system calls are made as 64-bit Linux has them"
#endif

enum Kind { kCreated = 1, kWritten, kTruncated, kUnlinked, kSynced };

// As crash_disk.py reads it; the name and the old bytes follow.
struct Record {
  uint32_t kind;
  uint32_t name_bytes;  // of the path below the folder; 0: the folder
  int64_t sequence;     // of kSynced: that of the last record that it covers
  int64_t offset;       // of kTruncated: the new size
  int64_t length;       // of what is written
  int64_t old_size;     // of the file
  int64_t old_bytes;    // how many follow: what was at `offset`, of kUnlinked the path of a link to the file
};

static pthread_mutex_t mu = PTHREAD_MUTEX_INITIALIZER;
static int journal = -1;  // guarded by mu
static int64_t last = 0;  // the last record's sequence; guarded by mu
static char folder[PATH_MAX];
static const char* journal_path;

static void Die(const char* what) {
  dprintf(STDERR_FILENO, "lost_writes: %s: %s\n", what, strerror(errno));
  abort();
}

__attribute__((constructor)) static void SetUp(void) {
  const char* directory = getenv("LOST_WRITES_DIR");
  journal_path = getenv("LOST_WRITES_JOURNAL");
  if (directory == NULL || journal_path == NULL || strlen(directory) + 2 > sizeof(folder)) Die("not set up");
  strcpy(folder, directory);
  journal = (int)syscall(SYS_openat, AT_FDCWD, journal_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (journal < 0) Die(journal_path);
}

// The name below the folder, "" for the folder; null: none of ours.
static const char* NameOf(const char* path) {
  const size_t length = strlen(folder);
  if (length == 0 || strncmp(path, folder, length) != 0) return NULL;
  if (path[length] == '\0') return path + length;
  if (path[length] != '/') return NULL;
  const char* const name = path + length + 1;
  const size_t name_length = strlen(name);
  if (name_length >= 4 && strcmp(name + name_length - 4, "-shm") == 0) return NULL;
  if (name_length >= 5 && strcmp(name + name_length - 5, ".lock") == 0) return NULL;
  return name;
}

static const char* NameOfFd(int fd, char path[PATH_MAX]) {
  char link[32];
  snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
  const ssize_t length = readlink(link, path, PATH_MAX - 1);
  if (length < 0) return NULL;
  path[length] = '\0';
  return NameOf(path);
}

// REQUIRES: mu is held. With one write, so that a killed process leaves at most the last record incomplete.
static void Note(struct Record record, const char* name, const void* old) {
  record.name_bytes = (uint32_t)strlen(name);
  if (record.kind != kSynced) record.sequence = ++last;
  const struct iovec parts[] = {{&record, sizeof(record)},
                                {(void*)(uintptr_t)name, record.name_bytes},
                                {(void*)(uintptr_t)old, (size_t)record.old_bytes}};
  const ssize_t bytes = (ssize_t)(sizeof(record) + record.name_bytes) + record.old_bytes;
  if (syscall(SYS_writev, journal, parts, 3) != bytes) Die("cannot note a write");
}

// REQUIRES: mu is held.
static void NoteChange(enum Kind kind, int fd, const char* name, off_t offset, size_t length) {
  struct stat file;
  if (fstat(fd, &file) != 0) Die(name);
  struct Record record = {
      .kind = kind, .offset = offset, .length = (int64_t)length, .old_size = file.st_size};
  const off_t end = kind == kTruncated ? file.st_size : offset + (off_t)length;
  const off_t old_end = end < file.st_size ? end : file.st_size;
  void* old = NULL;
  if (offset < old_end) {
    record.old_bytes = old_end - offset;
    old = malloc((size_t)record.old_bytes);
    if (old == NULL || pread(fd, old, (size_t)record.old_bytes, offset) != record.old_bytes) Die(name);
  }
  Note(record, name, old);
  free(old);
}

static int Open(int directory, const char* path, int flags, mode_t mode) {
  const char* const name = path[0] == '/' ? NameOf(path) : NULL;
  if (name == NULL || (flags & (O_CREAT | O_TRUNC)) == 0) {
    return (int)syscall(SYS_openat, directory, path, flags, mode);
  }
  if ((flags & O_TRUNC) != 0) Die("O_TRUNC is not covered");
  pthread_mutex_lock(&mu);
  struct stat file;
  if (stat(path, &file) != 0) Note((struct Record){.kind = kCreated}, name, NULL);
  const int fd = (int)syscall(SYS_openat, directory, path, flags, mode);
  const int error = errno;
  pthread_mutex_unlock(&mu);
  errno = error;
  return fd;
}

ssize_t pwrite(int fd, const void* bytes, size_t count, off_t offset) {
  char path[PATH_MAX];
  const char* const name = NameOfFd(fd, path);
  if (name == NULL) return syscall(SYS_pwrite64, fd, bytes, count, offset);
  pthread_mutex_lock(&mu);
  NoteChange(kWritten, fd, name, offset, count);
  const ssize_t written = syscall(SYS_pwrite64, fd, bytes, count, offset);
  const int error = errno;
  pthread_mutex_unlock(&mu);
  errno = error;
  return written;
}

ssize_t pwrite64(int fd, const void* bytes, size_t count, off64_t offset) {
  return pwrite(fd, bytes, count, offset);
}

ssize_t write(int fd, const void* bytes, size_t count) {
  char path[PATH_MAX];
  const char* const name = NameOfFd(fd, path);
  if (name == NULL) return syscall(SYS_write, fd, bytes, count);
  pthread_mutex_lock(&mu);
  struct stat file;
  if (fstat(fd, &file) != 0) Die(name);
  const bool appends = (fcntl(fd, F_GETFL) & O_APPEND) != 0;
  NoteChange(kWritten, fd, name, appends ? file.st_size : lseek(fd, 0, SEEK_CUR), count);
  const ssize_t written = syscall(SYS_write, fd, bytes, count);
  const int error = errno;
  pthread_mutex_unlock(&mu);
  errno = error;
  return written;
}

int ftruncate(int fd, off_t size) {
  char path[PATH_MAX];
  const char* const name = NameOfFd(fd, path);
  if (name == NULL) return (int)syscall(SYS_ftruncate, fd, size);
  pthread_mutex_lock(&mu);
  NoteChange(kTruncated, fd, name, size, 0);
  const int status = (int)syscall(SYS_ftruncate, fd, size);
  const int error = errno;
  pthread_mutex_unlock(&mu);
  errno = error;
  return status;
}

int ftruncate64(int fd, off64_t size) { return ftruncate(fd, size); }

int unlink(const char* path) {
  const char* const name = NameOf(path);
  if (name == NULL) return (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
  pthread_mutex_lock(&mu);
  char kept[PATH_MAX];
  const int length =
      snprintf(kept, sizeof(kept), "%s.unlinked-%d-%lld", journal_path, getpid(), (long long)last);
  if (length < 0 || (size_t)length >= sizeof(kept)) Die(path);
  if (syscall(SYS_linkat, AT_FDCWD, path, AT_FDCWD, kept, 0) == 0) {
    Note((struct Record){.kind = kUnlinked, .old_bytes = length}, name, kept);
  } else if (errno != ENOENT) {
    Die(path);
  }
  const int status = (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
  const int error = errno;
  pthread_mutex_unlock(&mu);
  errno = error;
  return status;
}

int rename(const char* from, const char* to) {
  if (NameOf(from) != NULL || NameOf(to) != NULL) Die("rename is not covered");
  return (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
}

// What others write meanwhile is not covered by it.
static int Sync(long call, int fd) {
  char path[PATH_MAX];
  const char* const name = NameOfFd(fd, path);
  if (name == NULL) return (int)syscall(call, fd);
  pthread_mutex_lock(&mu);
  const int64_t covered = last;
  pthread_mutex_unlock(&mu);
  const int status = (int)syscall(call, fd);
  if (status != 0) return status;
  pthread_mutex_lock(&mu);
  Note((struct Record){.kind = kSynced, .sequence = covered}, name, NULL);
  pthread_mutex_unlock(&mu);
  return 0;
}

int fsync(int fd) { return Sync(SYS_fsync, fd); }
int fdatasync(int fd) { return Sync(SYS_fdatasync, fd); }
