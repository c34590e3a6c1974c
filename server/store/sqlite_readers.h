#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/base/mutex.h"
#include "server/store/sqlite_options.h"
#include "server/store/sqlite_reader.h"

namespace jobpool {

/// The connections that read. Each is opened when it is first needed, and kept. Lists,
/// which can take long, have all but one of them: who asks for one job waits for no list.
/// Thread-safe.
class SqliteReaders {
 public:
  enum class Use : unsigned char { kOneJob, kList };

  /// REQUIRES: the file is prepared before the first is taken.
  SqliteReaders(std::string path, SqliteOptions options);

  /// Waits until there is one. UNAVAILABLE or DATA_LOSS: it cannot be opened.
  absl::StatusOr<std::unique_ptr<SqliteReader>> Take(Use use);

  /// Gives back what Take gave for that use; null: it may be broken, another is to take its
  /// place.
  void Give(std::unique_ptr<SqliteReader> reader, Use use);

  /// Waits until nobody has one, at most for `patience`; then nobody gets one until LetGo.
  /// Returns false, and does nothing, if somebody still has one.
  bool Hold(absl::Duration patience);
  void LetGo();

  /// Closes those that nobody has.
  void CloseFree();

 private:
  bool CanTake(Use use) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const std::string path_;
  const SqliteOptions options_;
  const size_t max_readers_;

  Mutex mu_;
  CondVar given_;
  std::vector<std::unique_ptr<SqliteReader>> free_ ABSL_GUARDED_BY(mu_);
  size_t readers_ ABSL_GUARDED_BY(mu_) = 0;  // free or taken
  size_t lists_ ABSL_GUARDED_BY(mu_) = 0;    // taken for lists
  bool held_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace jobpool
