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

WorkOptions AddWorkOptions(CLI::App& command, WorkArgs& args) {
  WorkOptions options{};
  options.kind =
      command.add_option("KIND", args.kind, "What to do, see below")->option_text(" ")->type_name("KIND");
  command.add_option("ARG", args.argument, "Its argument, see below")->option_text(" ");
  command
      .add_option("PARAM", args.more_arguments,
                  "Of command: PARAM=VALUE, may be repeated; of custom: the payload")
      ->option_text(" ");
  command.add_option("--env", args.environment, "Of command: a variable; may be repeated")
      ->option_text("NAME=VALUE")
      ->allow_extra_args(false);
  command.add_option("--stdin-file", args.stdin_file, "Of command: what it reads from its stdin; - is ours")
      ->option_text("FILE")
      ->type_name("FILE");
  command.add_option("--seed", args.seed, "Of hash: which bytes; default 0")->option_text("N");
  options.payload =
      command.add_option("--payload", args.payload, "Of noop, where it comes back in the result, and custom")
          ->option_text("TEXT");
  options.payload_file =
      command.add_option("--payload-file", args.payload_file, "The same from a file; -: from stdin")
          ->option_text("FILE")
          ->type_name("FILE");
  command.add_option("--pool", args.pool, "Pool that runs it; default by kind")
      ->option_text("POOL")
      ->type_name("pools");
  AddLabelOption(command, args.labels, "A label; may be repeated");
  command.add_option("--retention", args.retention, "How long it can be read after its end; default 24h")
      ->option_text("DURATION");
  command
      .add_option("--durability", args.durability,
                  "memory: gone with the server; disk: outlives it; default: disk where the server has one")
      ->option_text("WHERE")
      ->check(CLI::IsMember({"memory", "disk"}));
  command
      .add_option("--isolation", args.isolation,
                  "thread: of the server; process: of its own, which it can be ended with; default: thread")
      ->option_text("WHERE")
      ->check(CLI::IsMember({"thread", "process"}));
  AddPriorityOption(command, args.priority, "0 to 9; 9 starts first; default 4");
  command.add_option("--timeout", args.timeout, "How long an attempt may run; default: as long as it takes")
      ->option_text("DURATION");
  return options;
}

}  // namespace jobpool::cli
