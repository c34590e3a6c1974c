#include "server/handlers/allowed_command.h"

#include <algorithm>
#include <map>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace jobpool {
namespace {

std::string At(absl::string_view path, absl::string_view field, absl::string_view key) {
  return absl::StrCat(path, ".", field, "[", Shown(key), "]");
}

bool Has(const NamedValues& values, const std::string& name) {
  return std::any_of(values.begin(), values.end(), [&](const auto& value) { return value.first == name; });
}

// What the caller gave, and the defaults of the rest.
std::map<std::string, std::string> ValuesOf(const AllowedCommand& command, const CommandCall& call) {
  std::map<std::string, std::string> values;
  for (const CommandParameter& parameter : command.parameters) {
    if (parameter.default_value.has_value()) values[parameter.name] = *parameter.default_value;
  }
  for (const auto& [name, value] : call.arguments) values[name] = value;
  return values;
}

std::vector<std::string> ArgvOf(const AllowedCommand& command, const CommandCall& call) {
  const std::map<std::string, std::string> values = ValuesOf(command, call);
  std::vector<std::string> argv;
  argv.reserve(command.argv.size());
  for (const ArgumentTemplate& argument : command.argv) argv.push_back(argument.Fill(values));
  return argv;
}

}  // namespace

void AllowedCommand::Check(const CommandCall& call, absl::string_view path, Violations& violations) const {
  bool complete = true;
  for (const auto& [given, value] : call.arguments) {
    const auto parameter = std::find_if(parameters.begin(), parameters.end(),
                                        [&, &wanted = given](const auto& p) { return p.name == wanted; });
    if (parameter == parameters.end()) {
      violations.Add(At(path, "arguments", given), absl::StrCat("is no parameter of \"", name, "\""));
      complete = false;
    } else if (const std::string fault = parameter->FaultOf(value); !fault.empty()) {
      violations.Add(At(path, "arguments", given), fault);
      complete = false;
    }
  }
  for (const CommandParameter& parameter : parameters) {
    if (parameter.default_value.has_value() || Has(call.arguments, parameter.name)) continue;
    violations.Add(At(path, "arguments", parameter.name), "is required");
    complete = false;
  }
  for (const auto& [variable, value] : call.environment) {
    if (std::find(environment_names.begin(), environment_names.end(), variable) == environment_names.end()) {
      violations.Add(At(path, "environment", variable), "is none that callers may set");
    } else if (value.size() > kMaxEnvironmentValueBytes) {
      violations.Add(
          At(path, "environment", variable),
          absl::StrCat("must be at most ", kMaxEnvironmentValueBytes, " bytes, has ", value.size()));
    } else if (value.find('\0') != std::string::npos) {
      violations.Add(At(path, "environment", variable), "must have no NUL");
    }
  }
  if (!complete) return;
  size_t bytes = 0;
  for (const std::string& argument : ArgvOf(*this, call)) bytes += argument.size() + 1;
  if (bytes > kMaxArgvBytes) {
    violations.Add(absl::StrCat(path, ".arguments"),
                   absl::StrCat("must make at most ", kMaxArgvBytes, " bytes in their places, make ", bytes));
  }
}

ProgramSpec AllowedCommand::SpecOf(const CommandCall& call) const {
  ProgramSpec spec;
  spec.argv = ArgvOf(*this, call);
  spec.environment = environment;
  for (const auto& [variable, value] : call.environment) {
    const std::string prefix = absl::StrCat(variable, "=");
    spec.environment.erase(
        std::remove_if(spec.environment.begin(), spec.environment.end(),
                       [&](const std::string& one) { return absl::StartsWith(one, prefix); }),
        spec.environment.end());
    spec.environment.push_back(prefix + value);
  }
  spec.fences = fences;
  return spec;
}

}  // namespace jobpool
