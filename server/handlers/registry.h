#pragma once

#include <array>
#include <memory>
#include <utility>

#include "server/handlers/handler.h"

namespace jobpool {

class Plugins;

/// Which handler does which kind of work. Thread-safe: constant after
/// construction; outlives the workers.
class HandlerRegistry {
 public:
  /// With a handler for every kind; that of commands knows none. `plugins`: what `custom` jobs can be,
  /// outlives it; null: nothing.
  explicit HandlerRegistry(const Plugins* plugins = nullptr);

  /// From then on `handler` does that kind. Before it is used.
  void Replace(Kind kind, std::unique_ptr<const Handler> handler) {
    handlers_[static_cast<size_t>(kind)] = std::move(handler);
  }

  /// Never null for a kind of Kind.
  const Handler& Find(Kind kind) const { return *handlers_[static_cast<size_t>(kind)]; }

  /// Handler::Check of the work's kind.
  void Check(const Work& work, absl::string_view prefix, Violations& violations) const {
    Find(KindOf(work)).Check(work, prefix, violations);
  }

 private:
  std::array<std::unique_ptr<const Handler>, kKindCount> handlers_;
};

}  // namespace jobpool
