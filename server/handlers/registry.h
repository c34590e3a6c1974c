#pragma once

#include <array>
#include <memory>
#include <utility>

#include "server/handlers/handler.h"

namespace jobpool {

/// Which handler does which kind of work. Thread-safe: constant after
/// construction; outlives the workers.
class HandlerRegistry {
 public:
  /// With a handler for every built-in kind.
  HandlerRegistry();

  /// From then on `handler` does that kind. Before it is used.
  void Replace(Kind kind, std::unique_ptr<const Handler> handler) {
    handlers_[static_cast<size_t>(kind)] = std::move(handler);
  }

  /// Never null for a kind of Kind.
  const Handler& Find(Kind kind) const { return *handlers_[static_cast<size_t>(kind)]; }

 private:
  std::array<std::unique_ptr<const Handler>, kKindCount> handlers_;
};

}  // namespace jobpool
