#pragma once

#include <string>

#include "server/process/program.h"

namespace jobpool {

/// What holds for whatever we start, before its first instruction: no new privileges, no
/// core dump, the usual signals, and what `fences` says; all that it starts has it too. To be
/// called in the new process, while it has one thread. `folder`: its working directory where
/// `fences` names none. Returns why it cannot be done; empty: it is done.
std::string ApplyFences(const Fences& fences, const std::string& folder);

/// Whether the system knows a user of that name.
bool IsUser(const std::string& name);

/// A new empty folder for one program, whose user can write to it. Returns its path, or
/// nothing where none can be made.
std::string MakeProgramFolder(const Fences& fences);

}  // namespace jobpool
