#pragma once

#include <string>

#include <CLI/App.hpp>

#include "client/cli/command.h"

// The commands, a function for each group. Each adds its subcommands to `app`;
// the one that the command line names sets `chosen`, which must outlive the
// parsing. What an option's value is stored in lives as long as its command.

namespace jobpool::cli {

void AddRunCommands(CLI::App& app, Command& chosen);
void AddWaitCommand(CLI::App& app, Command& chosen);
/// Below the top, and below `jobs`.
void AddWatchCommand(CLI::App& parent, Command& chosen);
void AddJobsCommands(CLI::App& app, Command& chosen);
/// Those of `jobs` that are in a file of their own.
void AddJobControlCommands(CLI::App& jobs, Command& chosen);
void AddThreadsCommands(CLI::App& app, Command& chosen);
void AddPoolsCommands(CLI::App& app, Command& chosen);
void AddEchoCommand(CLI::App& app, Command& chosen);
void AddBenchCommand(CLI::App& app, Command& chosen);

/// Adds one subcommand, whose --help closes with `footer`.
CLI::App* AddCommand(CLI::App& parent, const std::string& name, const std::string& description,
                     const std::string& footer);

/// Adds the required positional `NAME` or `NAME...`, which `target` (a string or
/// a vector of them) receives: resources of `collection`, `jobs`.
template <typename Target>
CLI::Option* AddNames(CLI::App& command, Target& target, const std::string& collection,
                      const std::string& description) {
  return command.add_option("NAME", target, description)->required()->option_text(" ")->type_name(collection);
}

}  // namespace jobpool::cli
