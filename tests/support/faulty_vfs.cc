#include "tests/support/faulty_vfs.h"

#include <cstddef>

namespace jobpool {
namespace {

FaultyVfs* faulty = nullptr;

// SQLite gives room for it, with the real file behind.
struct File {
  sqlite3_file base;
  sqlite3_file* real;
};

sqlite3_file* Real(sqlite3_file* file) { return reinterpret_cast<File*>(file)->real; }
sqlite3_vfs* Real(sqlite3_vfs* vfs) { return static_cast<sqlite3_vfs*>(vfs->pAppData); }

int Close(sqlite3_file* file) { return Real(file)->pMethods->xClose(Real(file)); }
int Read(sqlite3_file* file, void* to, int size, sqlite3_int64 at) {
  return Real(file)->pMethods->xRead(Real(file), to, size, at);
}
int Write(sqlite3_file* file, const void* from, int size, sqlite3_int64 at) {
  const int code = faulty->Next();
  if (code == SQLITE_OK) return Real(file)->pMethods->xWrite(Real(file), from, size, at);
  Real(file)->pMethods->xWrite(Real(file), from, size / 2, at);
  return code == SQLITE_IOERR ? SQLITE_IOERR_WRITE : code;
}
int Truncate(sqlite3_file* file, sqlite3_int64 size) {
  const int code = faulty->Next();
  if (code == SQLITE_OK) return Real(file)->pMethods->xTruncate(Real(file), size);
  return code == SQLITE_IOERR ? SQLITE_IOERR_TRUNCATE : code;
}
int Sync(sqlite3_file*, int) {
  const int code = faulty->Next();
  return code == SQLITE_IOERR ? SQLITE_IOERR_FSYNC : code;
}
int FileSize(sqlite3_file* file, sqlite3_int64* size) {
  return Real(file)->pMethods->xFileSize(Real(file), size);
}
int Lock(sqlite3_file* file, int lock) { return Real(file)->pMethods->xLock(Real(file), lock); }
int Unlock(sqlite3_file* file, int lock) { return Real(file)->pMethods->xUnlock(Real(file), lock); }
int CheckReservedLock(sqlite3_file* file, int* held) {
  return Real(file)->pMethods->xCheckReservedLock(Real(file), held);
}
int FileControl(sqlite3_file* file, int op, void* arg) {
  return Real(file)->pMethods->xFileControl(Real(file), op, arg);
}
int SectorSize(sqlite3_file* file) { return Real(file)->pMethods->xSectorSize(Real(file)); }
int DeviceCharacteristics(sqlite3_file* file) {
  return Real(file)->pMethods->xDeviceCharacteristics(Real(file));
}
int ShmMap(sqlite3_file* file, int page, int size, int extend, void volatile** to) {
  return Real(file)->pMethods->xShmMap(Real(file), page, size, extend, to);
}
int ShmLock(sqlite3_file* file, int offset, int n, int flags) {
  return Real(file)->pMethods->xShmLock(Real(file), offset, n, flags);
}
void ShmBarrier(sqlite3_file* file) { Real(file)->pMethods->xShmBarrier(Real(file)); }
int ShmUnmap(sqlite3_file* file, int remove) { return Real(file)->pMethods->xShmUnmap(Real(file), remove); }

constexpr sqlite3_io_methods kMethods = {
    2,
    Close,
    Read,
    Write,
    Truncate,
    Sync,
    FileSize,
    Lock,
    Unlock,
    CheckReservedLock,
    FileControl,
    SectorSize,
    DeviceCharacteristics,
    ShmMap,
    ShmLock,
    ShmBarrier,
    ShmUnmap,
    nullptr,
    nullptr,
};

int Open(sqlite3_vfs* vfs, sqlite3_filename name, sqlite3_file* file, int flags, int* out_flags) {
  File* const opened = reinterpret_cast<File*>(file);
  opened->base.pMethods = nullptr;
  if (faulty->Next() != SQLITE_OK) return SQLITE_CANTOPEN;
  opened->real = reinterpret_cast<sqlite3_file*>(opened + 1);
  const int code = Real(vfs)->xOpen(Real(vfs), name, opened->real, flags, out_flags);
  if (code == SQLITE_OK) opened->base.pMethods = &kMethods;
  return code;
}

}  // namespace

FaultyVfs::FaultyVfs() {
  sqlite3_vfs* const real = sqlite3_vfs_find(nullptr);
  vfs_ = *real;
  vfs_.zName = Name();
  vfs_.pNext = nullptr;
  vfs_.pAppData = real;
  vfs_.szOsFile = static_cast<int>(sizeof(File)) + real->szOsFile;
  vfs_.xOpen = Open;
  faulty = this;
  sqlite3_vfs_register(&vfs_, 0);
}

FaultyVfs::~FaultyVfs() {
  sqlite3_vfs_unregister(&vfs_);
  faulty = nullptr;
}

void FaultyVfs::FailAt(int64_t call, int code, How how) {
  calls_ = 0;
  code_ = code;
  goes_on_ = how == How::kFromThenOn;
  fails_at_ = call;
}

void FaultyVfs::Heal() {
  fails_at_ = -1;
  calls_ = 0;
}

int FaultyVfs::Next() {
  const int64_t call = calls_++;
  const int64_t fails_at = fails_at_;
  const bool fails = fails_at >= 0 && (call == fails_at || (goes_on_ && call > fails_at));
  return fails ? code_.load() : SQLITE_OK;
}

}  // namespace jobpool
