#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "server/pipeline/dispatcher.h"

namespace jobpool {

/// The pools. Thread-safe: which there are is constant after construction.
class PoolSet {
 public:
  /// One dispatcher for each of `pools`, whose names differ.
  PoolSet(const std::vector<PoolOptions>& pools, const Dispatcher::Dependencies& dependencies);

  /// Null: there is no such pool.
  Dispatcher* Find(absl::string_view name) const;

  /// By name.
  const std::vector<std::unique_ptr<Dispatcher>>& all() const { return pools_; }

  /// Where a job of `kind` goes that does not say.
  static std::string DefaultPool(Kind kind);

  /// REQUIRES: each of `pools` names one that there is.
  void Reconfigure(const std::vector<PoolOptions>& pools);

  /// Ends all workers. Idempotent.
  void Stop();

 private:
  std::vector<std::unique_ptr<Dispatcher>> pools_;
};

}  // namespace jobpool
