#include "client/cli/common_options.h"

#include <CLI/CLI.hpp>

namespace jobpool::cli {

void AddTimeOptions(CLI::App& command, TimeArgs& times) {
  CLI::Option* at =
      command.add_option("--at", times.at, "Not to start before it: 2030-01-31T08:00 (local) or …T08:00:00Z")
          ->option_text("TIME");
  command.add_option("--in", times.in, "The same, so long from now")->option_text("DURATION")->excludes(at);
  command
      .add_option("--deadline", times.deadline,
                  "When it must have ended, or how long from now; else it FAILED")
      ->option_text("TIME|DURATION");
}

void AddPriorityOption(CLI::App& command, std::optional<int32_t>& priority, const std::string& description) {
  command.add_option("--priority", priority, description)->option_text("N");
}

void AddLabelOption(CLI::App& command, std::vector<std::string>& labels, const std::string& description) {
  command.add_option("--label", labels, description)->option_text("KEY=VALUE")->allow_extra_args(false);
}

void AddDisplayNameOption(CLI::App& command, std::string& display_name, const std::string& description) {
  command.add_option("--name", display_name, description)
      ->option_text("NAME")
      ->check([](const std::string& name) { return name.empty() ? "must not be empty" : std::string(); });
}

}  // namespace jobpool::cli
