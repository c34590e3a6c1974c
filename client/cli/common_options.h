#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <CLI/App.hpp>

#include "client/cli/time_args.h"
#include "client/cli/work_args.h"

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

/// What a command may want to add to.
struct WorkOptions {
  CLI::Option* kind;  // not required
  CLI::Option* payload;
  CLI::Option* payload_file;
};

/// What the work is, with KIND and its arguments, where it runs, and how it is kept: all of WorkArgs that
/// means the same for one job and for many.
WorkOptions AddWorkOptions(CLI::App& command, WorkArgs& args);

}  // namespace jobpool::cli
