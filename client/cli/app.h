#pragma once

#include <optional>
#include <string>

#include "client/cli/command.h"

namespace jobpool::cli {

/// A command line that is understood.
struct Invocation {
  std::string server = "127.0.0.1:50051";
  TlsFiles tls;
  OutputFormat format = OutputFormat::kTable;
  Command command;
};

/// What came of a command line: an invocation, or else what to print instead and
/// to end with (--help, --version, and usage errors).
struct ParsedCommandLine {
  std::optional<Invocation> invocation;
  std::string output;  // for standard output
  std::string error;   // for standard error
  ExitStatus status = ExitStatus::kDone;
};

/// Reads the arguments of main, JOBPOOL_SERVER and JOBPOOL_TLS_*. Prints nothing, calls nobody.
ParsedCommandLine ParseCommandLine(int argc, const char* const* argv);

}  // namespace jobpool::cli
