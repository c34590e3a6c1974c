#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace jobpool {

/// The resume tokens of a watch: a position in the log of events, good for the same
/// server, since its start, and the same jobs. Immutable.
class WatchTokens {
 public:
  /// `epoch`: another at each start of a server. `ids`, in a fixed order, or `filter`:
  /// what is watched.
  WatchTokens(uint64_t epoch, const std::vector<std::string>& ids, absl::string_view filter);

  std::string Make(uint64_t position) const;

  /// The position. INVALID_ARGUMENT, without details: no token of such a watch.
  /// OUT_OF_RANGE: from before a restart.
  absl::StatusOr<uint64_t> Read(absl::string_view token) const;

 private:
  const uint64_t epoch_;
  const std::string watch_;  // stands for what is watched
};

}  // namespace jobpool
