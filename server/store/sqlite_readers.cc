#include "server/store/sqlite_readers.h"

#include <algorithm>
#include <utility>

#include "server/base/clock.h"

namespace jobpool {

SqliteReaders::SqliteReaders(std::string path, SqliteOptions options)
    : path_(std::move(path)),
      options_(std::move(options)),
      max_readers_(std::max<size_t>(options_.readers, 2)) {}

bool SqliteReaders::CanTake(Use use) const {
  if (held_) return false;
  if (use == Use::kList && lists_ + 1 >= max_readers_) return false;
  return !free_.empty() || readers_ < max_readers_;
}

absl::StatusOr<std::unique_ptr<SqliteReader>> SqliteReaders::Take(Use use) {
  {
    MutexLock lock(mu_);
    while (!CanTake(use)) given_.Wait(mu_);
    if (use == Use::kList) ++lists_;
    if (!free_.empty()) {
      std::unique_ptr<SqliteReader> reader = std::move(free_.back());
      free_.pop_back();
      return reader;
    }
    ++readers_;
  }
  absl::StatusOr<std::unique_ptr<SqliteReader>> reader = SqliteReader::Open(path_, options_);
  if (!reader.ok()) Give(nullptr, use);
  return reader;
}

void SqliteReaders::Give(std::unique_ptr<SqliteReader> reader, Use use) {
  MutexLock lock(mu_);
  if (use == Use::kList) --lists_;
  if (reader != nullptr) {
    free_.push_back(std::move(reader));
  } else {
    --readers_;
  }
  // Few wait, and not all of them can take what any other can.
  given_.NotifyAll();
}

bool SqliteReaders::Hold(absl::Duration patience) {
  const MonotonicTime deadline = Later(Clock::Real().Monotonic(), patience);
  MutexLock lock(mu_);
  held_ = true;
  while (free_.size() < readers_ && Clock::Real().Monotonic() < deadline) given_.WaitUntil(mu_, deadline);
  if (free_.size() == readers_) return true;
  held_ = false;
  given_.NotifyAll();
  return false;
}

void SqliteReaders::LetGo() {
  MutexLock lock(mu_);
  held_ = false;
  given_.NotifyAll();
}

void SqliteReaders::CloseFree() {
  MutexLock lock(mu_);
  readers_ -= free_.size();
  free_.clear();
}

}  // namespace jobpool
