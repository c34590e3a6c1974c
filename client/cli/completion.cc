#include "client/cli/completion.h"

#include <algorithm>
#include <map>
#include <vector>

#include <CLI/CLI.hpp>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/cli/work_args.h"

namespace jobpool::cli {
namespace {

// Names that a server sends are compared and checked, never given to `compgen -W`, which would expand them.
constexpr char kScript[] = R"bash(
# Names of a collection, asked of the server that the command line names.
_jobpool_names() {
  local listed=("$1" list)
  [[ $1 == jobs ]] && listed+=(--page-size 1000)
  timeout 2 "${COMP_WORDS[0]}" "${server[@]}" -o name "${listed[@]}" 2>/dev/null </dev/null |
    grep -E '^[a-z]+/[A-Za-z0-9._-]+$'
}

# Adds those of the lines read that begin with the word to be completed.
_jobpool_offer() {
  local line
  while IFS= read -r line; do
    [[ -n $line && $line == "$word"* ]] && COMPREPLY+=("$line")
  done
}

# Completes a value: $1 says of what.
_jobpool_value() {
  case $1 in
    jobs | threads | pools)
      local names
      names=$(_jobpool_names "$1")
      _jobpool_offer <<<"$names"
      ((${#COMPREPLY[@]})) || _jobpool_offer <<<"${names//$1\//}" ;;
    FILE) _jobpool_offer < <(compgen -f -- "$word") ;;
    KIND) _jobpool_offer <<<"${kinds// /$'\n'}" ;;
    COMMAND) _jobpool_tree '' && _jobpool_offer <<<"${commands// /$'\n'}" ;;
    *'|'*) _jobpool_offer <<<"${1//|/$'\n'}" ;;
  esac
}

_jobpool() {
  local word=${COMP_WORDS[COMP_CWORD]} words=() server=() path='' given=0 option='' i piece
  local commands options valued taken kinds arguments=()
  COMPREPLY=()
  # Readline takes `--server=h:1` apart.
  for piece in "${COMP_WORDS[@]:1:COMP_CWORD}"; do
    if ((${#words[@]})) && [[ $piece == [:=] || ${words[-1]} == *[:=] ]]; then
      words[-1]+=$piece
    else
      words+=("$piece")
    fi
  done
  [[ $word == [:=] ]] && word=''
  _jobpool_tree ''
  for ((i = 0; i < ${#words[@]} - 1; ++i)); do
    piece=${words[i]}
    if [[ $piece == -* ]]; then
      if [[ " $valued " == *" $piece "* ]]; then
        ((i + 1 == ${#words[@]} - 1)) && option=$piece
        [[ $piece == --server || $piece == --tls_* ]] && server+=("$piece=${words[i + 1]}")
        ((++i))
      elif [[ $piece == --server=* || $piece == --tls_*=* ]]; then
        server+=("$piece")
      fi
    elif ((given == 0)) && [[ " $commands " == *" $piece "* ]]; then
      path+=${path:+ }$piece
      _jobpool_tree "$path"
    else
      ((++given))
    fi
  done
  piece=${words[-1]}
  [[ $piece == --*=* ]] && option=${piece%%=*}
  if [[ -n $option ]]; then
    _jobpool_value "$(_jobpool_takes "$option")"
  elif [[ $word == -* ]]; then
    _jobpool_offer <<<"${options// /$'\n'}"
  else
    ((given == 0)) && _jobpool_offer <<<"${commands// /$'\n'}"
    read -r -a arguments <<<"$taken"
    piece=${arguments[given]:-}
    ((${#arguments[@]})) && [[ -z $piece && ${arguments[-1]} == *... ]] && piece=${arguments[-1]}
    _jobpool_value "${piece%...}"
  fi
}
complete -F _jobpool jobpool
)bash";

std::vector<const CLI::App*> Commands(const CLI::App& app) {
  return app.get_subcommands([](const CLI::App*) { return true; });
}

/// What is written in the script for what a value is; `-` where nothing is known.
std::string TypeOf(const CLI::Option& option) {
  const std::string type = option.get_type_name();
  for (const char* known : {"FILE", "KIND", "COMMAND", "jobs", "threads", "pools"}) {
    if (type == known) return type;
  }
  return absl::StrContains(type, '|') ? type : "-";
}

struct Tree {
  std::string cases;                         // of _jobpool_tree
  std::map<std::string, std::string> takes;  // by option
};

/// `options` and `valued`: those of the commands above it, which it takes, too.
void AddToTree(const CLI::App& app, const std::string& path, std::vector<std::string> options,
               std::vector<std::string> valued, Tree& tree) {
  std::vector<std::string> arguments;
  for (const CLI::Option* option : app.get_options()) {
    if (option->get_positional()) {
      arguments.push_back(absl::StrCat(TypeOf(*option), option->get_items_expected_max() > 1 ? "..." : ""));
      continue;
    }
    std::vector<std::string> names;
    for (const std::string& name : option->get_lnames()) names.push_back(absl::StrCat("--", name));
    for (const std::string& name : option->get_snames()) names.push_back(absl::StrCat("-", name));
    for (const std::string& name : names) {
      if (std::find(options.begin(), options.end(), name) != options.end()) continue;  // --help, everywhere
      options.push_back(name);
      if (option->get_items_expected_max() == 0) continue;
      valued.push_back(name);
      tree.takes[name] = TypeOf(*option);
    }
  }
  std::vector<std::string> commands;
  for (const CLI::App* command : Commands(app)) {
    commands.push_back(command->get_name());
    for (const std::string& alias : command->get_aliases()) commands.push_back(alias);
  }
  absl::StrAppend(&tree.cases, "    '", path, "') commands='", absl::StrJoin(commands, " "), "' options='",
                  absl::StrJoin(options, " "), "' valued='", absl::StrJoin(valued, " "), "' taken='",
                  absl::StrJoin(arguments, " "), "' ;;\n");
  for (const CLI::App* command : Commands(app)) {
    std::vector<std::string> names = command->get_aliases();
    names.push_back(command->get_name());
    for (const std::string& name : names) {
      AddToTree(*command, path.empty() ? name : absl::StrCat(path, " ", name), options, valued, tree);
    }
  }
}

}  // namespace

std::string BashCompletion(const CLI::App& app) {
  Tree tree;
  AddToTree(app, "", {}, {}, tree);
  std::string script = absl::StrCat(
      "# Completion for bash, by `jobpool completion bash`.\n\n"
      "# What may follow a command: commands, options, which of them take a value, and what its arguments "
      "are.\n"
      "_jobpool_tree() {\n  kinds='",
      absl::StrJoin(KindNames(), " "), "'\n  case $1 in\n", tree.cases, "  esac\n}\n\n",
      "# What an option takes.\n_jobpool_takes() {\n  case $1 in\n");
  for (const auto& [option, type] : tree.takes) {
    if (type != "-") absl::StrAppend(&script, "    ", option, ") echo '", type, "' ;;\n");
  }
  return absl::StrCat(script, "  esac\n}\n", kScript);
}

}  // namespace jobpool::cli
