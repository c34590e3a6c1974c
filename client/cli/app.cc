#include "client/cli/app.h"

#include <CLI/CLI.hpp>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "client/cli/commands.h"
#include "client/cli/completion.h"
#include "client/cli/suggest.h"
#include "jobpool/printable.h"

namespace jobpool::cli {
namespace {

constexpr char kFooter[] =
    R"(These options may also stand after the command. Any of the --tls options means TLS.
Output goes to stdout, errors and progress to stderr.

Exit status: 0 done; 1 the job failed; 2 usage; 3 timeout; 4 not found; 5 refused, unavailable
or another error; 130 interrupted.

Examples:
  jobpool run sleep 2s
  jobpool submit primes 1000000 --name count
  jobpool threads
  jobpool -o json jobs list --all)";

/// A command that was named, with all before it: `jobpool jobs list`.
struct Named {
  const CLI::App* command;
  std::string path;
};

/// The deepest one.
Named NamedCommand(const CLI::App& app) {
  Named named{&app, app.get_name()};
  while (!named.command->get_subcommands().empty()) {
    named.command = named.command->get_subcommands().back();
    absl::StrAppend(&named.path, " ", named.command->get_name());
  }
  return named;
}

/// The names of the commands below `app`.
std::vector<std::string> CommandsOf(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; })) {
    names.push_back(command->get_name());
    for (const std::string& alias : command->get_aliases()) names.push_back(alias);
  }
  return names;
}

/// What an error of the parser means, in our words.
std::string ParseErrorText(const CLI::App& app, const Named& named, const CLI::ParseError& error) {
  const std::vector<std::string> rest = app.remaining(/*recurse=*/true);
  if (rest.empty()) return error.what();
  const std::string& word = rest.front();
  if (absl::StartsWith(word, "--")) {
    std::vector<std::string> options;
    for (const CLI::App* known : {named.command, &app}) {
      for (const CLI::Option* option : known->get_options()) {
        for (const std::string& name : option->get_lnames()) options.push_back(absl::StrCat("--", name));
      }
    }
    return absl::StrCat(error.what(), DidYouMean(word, options));
  }
  const std::vector<std::string> commands = CommandsOf(*named.command);
  if (word.empty() || word[0] == '-' || commands.empty()) return error.what();
  const std::string under = named.command == &app ? "" : absl::StrCat(" of '", named.path, "'");
  return absl::StrCat("unknown command '", word, "'", under, DidYouMean(word, commands));
}

ParsedCommandLine UsageError(absl::string_view message, absl::string_view command) {
  ParsedCommandLine parsed;
  parsed.error = UsageText(message, command);
  parsed.status = ExitStatus::kUsage;
  return parsed;
}

void AddTlsOption(CLI::App& app, const std::string& name, const std::string& variable, std::string& target,
                  const std::string& description) {
  app.add_option(name, target, absl::StrCat(description, "; or $", variable))
      ->option_text("FILE")
      ->type_name("FILE")
      ->envname(variable)
      ->take_last();
}

ParsedCommandLine ShowText(std::string text) {
  ParsedCommandLine parsed;
  parsed.output = std::move(text);
  return parsed;
}

/// The help of the command that `words` lead to.
ParsedCommandLine ShowHelp(const CLI::App& app, const std::vector<std::string>& words) {
  const CLI::App* command = &app;
  std::string path;  // of the commands above it
  for (const std::string& word : words) {
    const auto below =
        command->get_subcommands([&word](const CLI::App* candidate) { return candidate->check_name(word); });
    absl::StrAppend(&path, path.empty() ? "" : " ", command->get_name());
    if (below.empty()) {
      return UsageError(absl::StrCat("unknown command '", word, "'", DidYouMean(word, CommandsOf(*command))),
                        path);
    }
    command = below.front();
  }
  // Of the top one it would show the help of `help`, which was parsed.
  return ShowText(command == &app
                      ? app.get_formatter()->make_help(&app, app.get_name(), CLI::AppFormatMode::Normal)
                      : command->help(path));
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
  // Of `--flag=` CLI11 would take the next argument for the value.
  for (int i = 1; i < argc && argv[i] != absl::string_view("--"); ++i) {
    const absl::string_view argument = argv[i];
    if (absl::StartsWith(argument, "--") && argument.find('=') == argument.size() - 1) {
      return UsageError(absl::StrCat(argument, " has no value; to give an empty one: ",
                                     argument.substr(0, argument.size() - 1), " ''"),
                        "jobpool");
    }
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
  AddTlsOption(app, "--tls_ca", "JOBPOOL_TLS_CA", invocation.tls.ca,
               "Trusted authorities, in PEM; default: the system's");
  AddTlsOption(app, "--tls_cert", "JOBPOOL_TLS_CERT", invocation.tls.cert,
               "Certificate to show to the server, in PEM");
  AddTlsOption(app, "--tls_key", "JOBPOOL_TLS_KEY", invocation.tls.key, "Its key, in PEM");
  app.add_option("-o,--output", format, "table for people, json (canonical proto3), or name: one a line")
      ->option_text("table|json|name")
      ->type_name("table|json|name")
      ->check([](const std::string& value) {
        const bool known = value == "table" || value == "json" || value == "name";
        return known ? std::string() : absl::StrCat("'", value, "' is none of table, json, name");
      })
      ->take_last();
  AddRunCommands(app, invocation.command);
  AddWaitCommand(app, invocation.command);
  AddWatchCommand(app, invocation.command);
  AddJobsCommands(app, invocation.command);
  AddThreadsCommands(app, invocation.command);
  AddPoolsCommands(app, invocation.command);
  AddEchoCommand(app, invocation.command);
  AddBenchCommand(app, invocation.command);

  CLI::App* completion =
      AddCommand(app, "completion", "Print a script that lets a shell complete command lines",
                 "Example:\n  source <(jobpool completion bash)");
  std::string shell;
  completion->add_option("SHELL", shell, "bash")
      ->required()
      ->option_text(" ")
      ->type_name("bash|")
      ->check([](const std::string& value) {
        return value == "bash" ? std::string() : absl::StrCat("'", value, "' is not known, only bash is");
      });
  CLI::App* help =
      AddCommand(app, "help", "Show the help of a command", "Example:\n  jobpool help jobs list");
  std::vector<std::string> help_of;
  help->add_option("COMMAND", help_of, "As on a command line")->option_text(" ")->type_name("COMMAND");

  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    return ShowText(app.help());
  } catch (const CLI::CallForVersion& version) {
    return ShowText(absl::StrCat(version.what(), "\n"));
  } catch (const CLI::ParseError& error) {
    const Named named = NamedCommand(app);
    return UsageError(ParseErrorText(app, named, error), named.path);
  }
  if (completion->parsed()) return ShowText(BashCompletion(app));
  if (help->parsed()) return ShowHelp(app, help_of);
  if (!invocation.command) return UsageError("a command is missing", "jobpool");
  if (invocation.tls.cert.empty() != invocation.tls.key.empty()) {
    return UsageError("--tls_cert and --tls_key must be given together", "jobpool");
  }
  invocation.format = ParseOutputFormat(format);
  ParsedCommandLine parsed;
  parsed.invocation = std::move(invocation);
  return parsed;
}

}  // namespace jobpool::cli
