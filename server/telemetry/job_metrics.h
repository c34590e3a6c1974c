#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "server/base/resource_usage.h"

namespace prometheus {
class Registry;
}

namespace jobpool {

/// Why a submission was refused: the label `reason`.
enum class RejectReason : unsigned char {
  kInvalidField,
  kPoolNotFound,
  kJobNotFound,  // that the same request made before
  kJobExists,
  kRequestIdReused,
  kRequestIdsFull,
  kQueueFull,
  kRateReached,
  kPoolDraining,
  kPayloadsFull,
  kNoDurableStore,
  kStoreUnavailable,
  kStoreFull,
  kShuttingDown
};

/// Counts what happens to jobs. Every series exists at 0 from construction.
/// Thread-safe; the handles are cached, so that counting takes neither a lock
/// (histograms: their own) nor a look-up. Kinds, pools and states are given as
/// indexes into the names of construction.
class JobMetrics {
 public:
  struct Names {
    std::vector<std::string> kinds;
    std::vector<std::string> pools;
    std::vector<std::string> end_states;
  };

  JobMetrics(prometheus::Registry& registry, const Names& names);
  ~JobMetrics();

  void Submitted(size_t kind, size_t pool);
  void Rejected(RejectReason reason, size_t jobs = 1);
  void Started(size_t pool, absl::Duration queued_for);
  /// A job was cancelled because the server shuts down.
  void Interrupted();
  /// An attempt has failed and will be followed by another.
  void Retried(size_t kind);
  /// An attempt did not end when asked to: its thread is lost to the pool.
  void Abandoned(size_t kind);
  /// An attempt that was abandoned has come to its end.
  void LateCompletion();
  /// An attempt has ended.
  void Ran(size_t kind, absl::Duration run_for, const ResourceUsage& usage);
  void Finished(size_t kind, size_t pool, size_t end_state, absl::Time end_time);

 private:
  struct Handles;
  std::unique_ptr<Handles> handles_;
};

}  // namespace jobpool
