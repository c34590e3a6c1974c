#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "server/base/mutex.h"
#include "server/handlers/allowed_command.h"

namespace jobpool {

/// The commands that jobs may run; empty at first. Thread-safe. Outlives those that look
/// in it; what they have found stays as it was.
class CommandList {
 public:
  /// From now on it has these alone. REQUIRES: each has a name of its own.
  void Set(std::vector<AllowedCommand> commands);

  /// Null: there is none of that name.
  std::shared_ptr<const AllowedCommand> Find(const std::string& name) const;

  /// A violation for each thing of `call` that is not allowed, also its name; `path`: of the
  /// call in the request (`job.command`).
  void Check(const CommandCall& call, absl::string_view path, Violations& violations) const;

 private:
  using Commands = std::map<std::string, std::shared_ptr<const AllowedCommand>>;

  mutable Mutex mu_;
  std::shared_ptr<const Commands> commands_ ABSL_GUARDED_BY(mu_) = std::make_shared<const Commands>();
};

}  // namespace jobpool
