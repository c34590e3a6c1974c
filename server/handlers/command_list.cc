#include "server/handlers/command_list.h"

#include <utility>

#include "absl/strings/str_cat.h"

namespace jobpool {

void CommandList::Set(std::vector<AllowedCommand> commands) {
  auto next = std::make_shared<Commands>();
  for (AllowedCommand& command : commands) {
    std::string name = command.name;
    next->emplace(std::move(name), std::make_shared<const AllowedCommand>(std::move(command)));
  }
  MutexLock lock(mu_);
  commands_ = std::move(next);
}

std::shared_ptr<const AllowedCommand> CommandList::Find(const std::string& name) const {
  std::shared_ptr<const Commands> commands;
  {
    MutexLock lock(mu_);
    commands = commands_;
  }
  const auto found = commands->find(name);
  return found != commands->end() ? found->second : nullptr;
}

void CommandList::Check(const CommandCall& call, absl::string_view path, Violations& violations) const {
  const std::shared_ptr<const AllowedCommand> allowed = Find(call.name);
  if (allowed == nullptr) {
    violations.Add(absl::StrCat(path, ".name"),
                   absl::StrCat(Shown(call.name), " is none of the commands that this server has"));
    return;
  }
  // Said already; and there may be very many.
  if (call.arguments.size() > kMaxCommandArguments || call.environment.size() > kMaxCommandEnvironment)
    return;
  allowed->Check(call, path, violations);
}

}  // namespace jobpool
