#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <CLI/App.hpp>

#include "client/cli/time_args.h"

// Options that several commands take. The targets must outlive the parsing.

namespace jobpool::cli {

/// --at, --in, and --deadline.
void AddTimeOptions(CLI::App& command, TimeArgs& times);

/// --priority.
void AddPriorityOption(CLI::App& command, std::optional<int32_t>& priority, const std::string& description);

/// --label, which may be repeated; `description` says what that does.
void AddLabelOption(CLI::App& command, std::vector<std::string>& labels, const std::string& description);

/// --name, which must not be empty.
void AddDisplayNameOption(CLI::App& command, std::string& display_name, const std::string& description);

}  // namespace jobpool::cli
