#include "client/cli/app.h"

#include <CLI/CLI.hpp>

#include "absl/strings/str_cat.h"
#include "client/cli/commands.h"
#include "jobpool/printable.h"

namespace jobpool::cli {
namespace {

constexpr char kFooter[] =
    R"(These options may also stand after the command. Output goes to stdout, errors and progress to stderr.

Exit status: 0 done; 1 the job failed; 2 usage; 3 timeout; 4 not found; 5 refused, unavailable
or another error; 130 interrupted.

Examples:
  jobpool run sleep 2s
  jobpool submit primes 1000000 --name count
  jobpool threads
  jobpool -o json jobs list --all)";

/// `jobpool jobs list` for the deepest command that was named.
std::string CommandPath(const CLI::App& app) {
  std::string path = app.get_name();
  for (const CLI::App* command = &app; !command->get_subcommands().empty();) {
    command = command->get_subcommands().back();
    absl::StrAppend(&path, " ", command->get_name());
  }
  return path;
}

ParsedCommandLine UsageError(absl::string_view message, absl::string_view command) {
  ParsedCommandLine parsed;
  parsed.error = UsageText(message, command);
  parsed.status = ExitStatus::kUsage;
  return parsed;
}

ParsedCommandLine ShowText(std::string text) {
  ParsedCommandLine parsed;
  parsed.output = std::move(text);
  return parsed;
}

}  // namespace

CLI::App* AddCommand(CLI::App& parent, const std::string& name, const std::string& description,
                     const std::string& footer) {
  CLI::App* command = parent.add_subcommand(name, description);
  command->group("Commands");
  command->footer(absl::StrCat(footer, "\n\n--server and -o as in 'jobpool --help'."));
  return command;
}

ParsedCommandLine ParseCommandLine(int argc, const char* const* argv) {
  for (int i = 1; i < argc; ++i) {
    if (!IsUtf8(argv[i])) return UsageError(absl::StrCat("argument is not UTF-8: ", argv[i]), "jobpool");
  }
  Invocation invocation;
  std::string format = "table";

  CLI::App app("Runs jobs on a jobpool server.", "jobpool");
  // Inherited by the commands. The limit of one command at each level keeps a name such as `list` from being
  // taken for a command where an argument is meant.
  app.fallthrough();
  app.require_subcommand(0, 1);
  app.get_formatter()->label("SUBCOMMAND", "COMMAND");
  app.get_formatter()->label("Positionals", "Arguments");
  app.get_formatter()->column_width(34);
  app.footer(kFooter);
  app.set_version_flag("--version", "jobpool " JOBPOOL_VERSION, "Print the version and exit");
  app.add_option("--server", invocation.server,
                 "HOST:PORT or unix:PATH; default $JOBPOOL_SERVER, else 127.0.0.1:50051")
      ->option_text("ADDR")
      ->envname("JOBPOOL_SERVER")
      ->take_last();
  app.add_option("-o,--output", format, "table for people, json (canonical proto3), or name: one a line")
      ->option_text("table|json|name")
      ->check([](const std::string& value) {
        const bool known = value == "table" || value == "json" || value == "name";
        return known ? std::string() : absl::StrCat("'", value, "' is none of table, json, name");
      })
      ->take_last();
  AddRunCommands(app, invocation.command);
  AddWaitCommand(app, invocation.command);
  AddJobsCommands(app, invocation.command);
  AddThreadsCommands(app, invocation.command);
  AddPoolsCommands(app, invocation.command);

  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    return ShowText(app.help());
  } catch (const CLI::CallForVersion& version) {
    return ShowText(absl::StrCat(version.what(), "\n"));
  } catch (const CLI::ParseError& error) {
    if (app.get_subcommands().empty() && !app.remaining().empty() && app.remaining().front()[0] != '-') {
      return UsageError(absl::StrCat("unknown command '", app.remaining().front(), "'"), "jobpool");
    }
    return UsageError(error.what(), CommandPath(app));
  }
  if (!invocation.command) return UsageError("a command is missing", "jobpool");
  invocation.format = ParseOutputFormat(format);
  ParsedCommandLine parsed;
  parsed.invocation = std::move(invocation);
  return parsed;
}

}  // namespace jobpool::cli
