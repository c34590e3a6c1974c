#pragma once

#include <memory>

#include "server/handlers/command_list.h"
#include "server/handlers/handler.h"
#include "server/process/program.h"

namespace jobpool {

/// Runs the programs of `commands`, as it is when a job starts. `starter` outlives it;
/// null: programs cannot be started here.
std::unique_ptr<const Handler> MakeCommandHandler(std::shared_ptr<const CommandList> commands,
                                                  ProgramStarter* starter);

}  // namespace jobpool
