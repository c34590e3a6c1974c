#include "server/config/command_config.h"

#include <algorithm>
#include <set>
#include <string>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "server/config/duration.h"
#include "server/config/process_config.h"
#include "server/job/resource_name.h"

namespace jobpool {
namespace {

constexpr int kMaxCommands = 1'000;
constexpr int kMaxArgv = 64;
constexpr int kMaxParameters = static_cast<int>(kMaxCommandArguments);
constexpr int kMaxValues = 256;
constexpr size_t kMaxPatternBytes = 1'000;
constexpr int64_t kMaxValueBytes = int64_t{64} << 10;
constexpr int kMaxEnvironment = 64;
constexpr absl::Duration kMaxKillGrace = absl::Hours(1);

// Of descriptors its streams, and one to open a library with.
constexpr LeastFences kLeast = {int64_t{16} << 20, 4};
const Fences kDefaultFences = {.memory_bytes = int64_t{512} << 20,
                               .cpu_seconds = 3600,
                               .file_bytes = int64_t{1} << 30,
                               .open_files = 64,
                               .processes = 64};

bool HasNul(absl::string_view text) { return text.find('\0') != absl::string_view::npos; }

bool IsVariable(absl::string_view name) {
  if (name.empty() || absl::ascii_isdigit(static_cast<unsigned char>(name.front()))) return false;
  return std::all_of(name.begin(), name.end(),
                     [](unsigned char c) { return absl::ascii_isalnum(c) || c == '_'; });
}

// By these a caller would choose which code runs: in the loader and in libc, in shells, in interpreters, in
// what starts an editor or a pager.
bool ChoosesCode(absl::string_view variable) {
  static const auto* const names = new std::set<std::string>{"PATH",
                                                             "IFS",
                                                             "ENV",
                                                             "BASH_ENV",
                                                             "SHELLOPTS",
                                                             "BASHOPTS",
                                                             "PS4",
                                                             "PROMPT_COMMAND",
                                                             "GCONV_PATH",
                                                             "LOCPATH",
                                                             "NLSPATH",
                                                             "GETCONF_DIR",
                                                             "RES_OPTIONS",
                                                             "HOSTALIASES",
                                                             "RUBYLIB",
                                                             "RUBYOPT",
                                                             "NODE_OPTIONS",
                                                             "NODE_PATH",
                                                             "CLASSPATH",
                                                             "JAVA_TOOL_OPTIONS",
                                                             "_JAVA_OPTIONS",
                                                             "JDK_JAVA_OPTIONS",
                                                             "PAGER",
                                                             "EDITOR",
                                                             "VISUAL",
                                                             "BROWSER",
                                                             "LESSOPEN",
                                                             "LESSCLOSE",
                                                             "MANPAGER",
                                                             "SHELL",
                                                             "R_PROFILE",
                                                             "R_PROFILE_USER",
                                                             "LUA_PATH",
                                                             "LUA_CPATH",
                                                             "LUA_INIT",
                                                             "OPENSSL_CONF",
                                                             "OPENSSL_ENGINES",
                                                             "OPENSSL_MODULES",
                                                             "HOME",
                                                             "XDG_CONFIG_HOME",
                                                             "INPUTRC",
                                                             "TERMINFO"};
  for (const char* prefix : {"LD_", "GLIBC_", "PYTHON", "PERL5", "GIT_", "BASH_FUNC_", "MAGICK_"}) {
    if (absl::StartsWith(variable, prefix)) return true;
  }
  return names->count(std::string(variable)) > 0;
}

// Takes apart what is said of one command.
class CommandDecoder {
 public:
  CommandDecoder(const config::v1::Command& encoded, std::string path, Violations& violations)
      : encoded_(encoded), path_(std::move(path)), violations_(violations) {}

  AllowedCommand Decode(absl::Duration stop_grace) {
    command_.name = encoded_.name();
    if (!IsResourceId(command_.name)) Fault("name", "must match [a-z]([a-z0-9-]{0,61}[a-z0-9])?");
    DecodeParameters();
    DecodeArgv();
    DecodeEnvironment();
    command_.fences = kDefaultFences;
    DecodeWorkingDirectory();
    command_.fences.user = encoded_.user();
    DecodeLimits();
    DecodeKillGrace(stop_grace);
    CheckUser(encoded_.user(), At("user"), violations_);
    return std::move(command_);
  }

 private:
  std::string At(absl::string_view field) const { return absl::StrCat(path_, ".", field); }
  void Fault(absl::string_view field, absl::string_view what) { violations_.Add(At(field), what); }

  void DecodeParameters() {
    if (encoded_.parameters_size() > kMaxParameters) {
      Fault("parameters",
            absl::StrCat("must be at most ", kMaxParameters, ", are ", encoded_.parameters_size()));
      return;
    }
    std::set<std::string> names;
    for (int i = 0; i < encoded_.parameters_size(); ++i) {
      const config::v1::Parameter& parameter = encoded_.parameters(i);
      const std::string path = absl::StrCat("parameters[", i, "]");
      command_.parameters.push_back(DecodeParameter(parameter, path));
      if (!IsLabelKey(parameter.name())) {
        Fault(path + ".name", "must match [a-z][a-z0-9_-]{0,62}");
      } else if (!names.insert(parameter.name()).second) {
        Fault(path + ".name", absl::StrCat("\"", parameter.name(), "\" comes twice"));
      }
    }
  }

  CommandParameter DecodeParameter(const config::v1::Parameter& encoded, const std::string& path) {
    const auto at = [&](absl::string_view field) { return At(absl::StrCat(path, ".", field)); };
    CommandParameter parameter;
    parameter.name = encoded.name();
    switch (encoded.type()) {
      case config::v1::Parameter::TYPE_UNSPECIFIED:
      case config::v1::Parameter::STRING:
        parameter.type = CommandParameter::Type::kString;
        break;
      case config::v1::Parameter::INT:
        parameter.type = CommandParameter::Type::kInt;
        break;
      case config::v1::Parameter::BOOL:
        parameter.type = CommandParameter::Type::kBool;
        break;
      case config::v1::Parameter::ENUM:
        parameter.type = CommandParameter::Type::kEnum;
        break;
      case config::v1::Parameter::PATH:
        parameter.type = CommandParameter::Type::kPath;
        break;
      default:
        violations_.Add(at("type"), "must be STRING, INT, BOOL, ENUM or PATH");
    }
    const auto only_of = [&](bool given, CommandParameter::Type type, const char* field, const char* of) {
      if (given && parameter.type != type) violations_.Add(at(field), absl::StrCat("is for ", of, " only"));
    };
    only_of(!encoded.pattern().empty(), CommandParameter::Type::kString, "pattern", "STRING");
    only_of(encoded.has_min(), CommandParameter::Type::kInt, "min", "INT");
    only_of(encoded.has_max(), CommandParameter::Type::kInt, "max", "INT");
    only_of(!encoded.values().empty(), CommandParameter::Type::kEnum, "values", "ENUM");
    if (encoded.pattern().size() > kMaxPatternBytes) {
      violations_.Add(at("pattern"), absl::StrCat("must be at most ", kMaxPatternBytes, " bytes, has ",
                                                  encoded.pattern().size()));
    } else if (!encoded.pattern().empty()) {
      absl::StatusOr<TextPattern> pattern = ParseTextPattern(encoded.pattern());
      if (pattern.ok()) {
        parameter.pattern = *std::move(pattern);
      } else {
        violations_.Add(at("pattern"), pattern.status().message());
      }
    }
    if (encoded.has_max_bytes()) {
      CheckRange(encoded.max_bytes(), 1, kMaxValueBytes, at("max_bytes"), violations_);
      parameter.max_bytes = std::clamp(encoded.max_bytes(), int64_t{1}, kMaxValueBytes);
    }
    if (encoded.has_min()) parameter.min = encoded.min();
    if (encoded.has_max()) parameter.max = encoded.max();
    if (parameter.min > parameter.max) violations_.Add(at("min"), "must not be more than max");
    parameter.values.assign(encoded.values().begin(), encoded.values().end());
    if (parameter.type == CommandParameter::Type::kEnum &&
        (parameter.values.empty() || encoded.values_size() > kMaxValues)) {
      violations_.Add(at("values"),
                      absl::StrCat("must be 1 to ", kMaxValues, ", are ", encoded.values_size()));
    }
    parameter.allow_leading_dash = encoded.allow_leading_dash();
    if (encoded.has_default_value()) {
      parameter.default_value = encoded.default_value();
      const std::string fault = parameter.FaultOf(encoded.default_value());
      if (!fault.empty()) violations_.Add(at("default_value"), fault);
    }
    return parameter;
  }

  void DecodeArgv() {
    const int count = encoded_.argv_size();
    if (count < 1 || count > kMaxArgv) {
      Fault("argv", absl::StrCat("must be 1 to ", kMaxArgv, ", are ", count));
      return;
    }
    std::set<std::string> unused;
    for (const CommandParameter& parameter : command_.parameters) unused.insert(parameter.name);
    const std::set<std::string> known = unused;
    for (int i = 0; i < count; ++i) {
      const std::string field = absl::StrCat("argv[", i, "]");
      absl::StatusOr<ArgumentTemplate> argument = ArgumentTemplate::Parse(encoded_.argv(i));
      if (!argument.ok()) {
        Fault(field, argument.status().message());
        continue;
      }
      if (i == 0 && (!absl::StartsWith(encoded_.argv(0), "/") || !argument->Names().empty())) {
        Fault(field, "must be an absolute path, without places for parameters");
      }
      for (const std::string& name : argument->Names()) {
        if (known.count(name) == 0) Fault(field, absl::StrCat("there is no parameter \"", name, "\""));
        unused.erase(name);
      }
      command_.argv.push_back(*std::move(argument));
    }
    for (const std::string& name : unused) {
      Fault("argv", absl::StrCat("has no place for the parameter \"", name, "\""));
    }
  }

  void DecodeEnvironment() {
    if (encoded_.environment_size() > kMaxEnvironment) {
      Fault("environment",
            absl::StrCat("must be at most ", kMaxEnvironment, ", are ", encoded_.environment_size()));
      return;
    }
    std::set<std::string> names;
    for (int i = 0; i < encoded_.environment_size(); ++i) {
      const std::string& variable = encoded_.environment(i);
      const std::string field = absl::StrCat("environment[", i, "]");
      const std::string name = variable.substr(0, variable.find('='));
      if (name.size() == variable.size() || !IsVariable(name) || HasNul(variable)) {
        Fault(field, "must be NAME=value, without NUL");
      } else if (!names.insert(name).second) {
        Fault(field, absl::StrCat(name, " comes twice"));
      }
      command_.environment.push_back(variable);
    }
    DecodeAllowedEnvironment(names);
    if (names.count("PATH") == 0) command_.environment.emplace_back("PATH=/usr/bin:/bin");
    if (names.count("LANG") == 0) command_.environment.emplace_back("LANG=C.UTF-8");
  }

  void DecodeAllowedEnvironment(std::set<std::string> fixed) {
    if (encoded_.allowed_environment_size() > static_cast<int>(kMaxCommandEnvironment)) {
      Fault("allowed_environment", absl::StrCat("must be at most ", kMaxCommandEnvironment, ", are ",
                                                encoded_.allowed_environment_size()));
      return;
    }
    for (int i = 0; i < encoded_.allowed_environment_size(); ++i) {
      const std::string& name = encoded_.allowed_environment(i);
      const std::string field = absl::StrCat("allowed_environment[", i, "]");
      if (!IsVariable(name)) {
        Fault(field, "must match [A-Za-z_][A-Za-z0-9_]*");
      } else if (ChoosesCode(name)) {
        Fault(field, absl::StrCat(name, " would let callers choose what code runs"));
      } else if (!fixed.insert(name).second) {
        Fault(field, absl::StrCat(name, " comes twice, or is in environment"));
      }
      command_.environment_names.push_back(name);
    }
  }

  void DecodeWorkingDirectory() {
    const std::string& folder = encoded_.working_directory();
    if (!folder.empty() && (!absl::StartsWith(folder, "/") || HasNul(folder))) {
      Fault("working_directory", "must be an absolute path");
    }
    command_.fences.working_directory = folder;
  }

  void DecodeLimits() {
    DecodeProcessLimits(encoded_.limits(), kLeast, At("limits"), command_.fences, violations_);
    if (!encoded_.has_max_output_bytes()) return;
    CheckRange(encoded_.max_output_bytes(), 0, static_cast<int64_t>(kMaxOutputBytes), At("max_output_bytes"),
               violations_);
    command_.max_output_bytes = static_cast<size_t>(encoded_.max_output_bytes());
  }

  void DecodeKillGrace(absl::Duration stop_grace) {
    if (encoded_.has_kill_grace()) command_.kill_grace = DecodeDuration(encoded_.kill_grace());
    CheckRange(command_.kill_grace, kMaxKillGrace, At("kill_grace"), violations_);
    if (command_.kill_grace >= stop_grace) {
      Fault("kill_grace", absl::StrCat("must be less than the stop_grace of the pool blocking, which is ",
                                       absl::FormatDuration(stop_grace), "; is ",
                                       absl::FormatDuration(command_.kill_grace)));
    }
  }

  const config::v1::Command& encoded_;
  const std::string path_;
  Violations& violations_;
  AllowedCommand command_;
};

}  // namespace

std::vector<AllowedCommand> DecodeCommands(const config::v1::ServerConfig& encoded, absl::Duration stop_grace,
                                           Violations& violations) {
  std::vector<AllowedCommand> commands;
  if (encoded.commands_size() > kMaxCommands) {
    violations.Add("commands",
                   absl::StrCat("must be at most ", kMaxCommands, ", are ", encoded.commands_size()));
    return commands;
  }
  std::set<std::string> names;
  for (int i = 0; i < encoded.commands_size(); ++i) {
    const std::string path = absl::StrCat("commands[", i, "]");
    commands.push_back(CommandDecoder(encoded.commands(i), path, violations).Decode(stop_grace));
    if (!names.insert(commands.back().name).second) {
      violations.Add(absl::StrCat(path, ".name"), absl::StrCat("\"", commands.back().name, "\" comes twice"));
    }
  }
  return commands;
}

}  // namespace jobpool
