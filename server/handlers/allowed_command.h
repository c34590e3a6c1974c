#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "server/handlers/argument_template.h"
#include "server/handlers/command_parameter.h"
#include "server/job/bounds.h"
#include "server/job/validation.h"
#include "server/job/work.h"
#include "server/process/program.h"

namespace jobpool {

/// A program that callers may run, and what of it they may choose;
/// jobpool.config.v1.Command says what each part means. Thread-safe: constant once it is
/// in use.
struct AllowedCommand {
  std::string name;
  std::vector<ArgumentTemplate> argv;          // names parameters alone
  std::vector<CommandParameter> parameters;    // each has a name of its own
  std::vector<std::string> environment;        // NAME=value
  std::vector<std::string> environment_names;  // that callers may set; none of `environment`
  Fences fences;
  size_t max_output_bytes = kMaxOutputBytes;  // of stdout, and of stderr
  absl::Duration kill_grace = absl::Seconds(2);

  /// A violation for each thing of `call` that it does not take; `path`: that of the call
  /// in the request (`job.command`).
  void Check(const CommandCall& call, absl::string_view path, Violations& violations) const;

  /// What is started for it. REQUIRES: Check finds nothing.
  ProgramSpec SpecOf(const CommandCall& call) const;
};

}  // namespace jobpool
