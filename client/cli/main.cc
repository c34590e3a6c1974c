#include <cstdlib>
#include <fcntl.h>
#include <memory>
#include <unistd.h>

#include "client/cli/app.h"
#include "client/cli/interrupt.h"

namespace jobpool::cli {
namespace {

/// A standard file that is closed would give its number to the next socket, which
/// then received our output. REQUIRES: no file has been opened
void KeepStandardFiles() {
  int file = 0;
  do {
    file = open("/dev/null", O_RDONLY);  // writing there fails, as it should
  } while (file >= 0 && file <= STDERR_FILENO);
  if (file >= 0) close(file);
}

ExitStatus Main(int argc, const char* const* argv) {
  const ParsedCommandLine parsed = ParseCommandLine(argc, argv);
  if (!parsed.invocation) {
    Print(parsed.output);
    PrintError(parsed.error);
    return parsed.status;
  }
  const absl::StatusOr<std::unique_ptr<Client>> client =
      Client::Create(parsed.invocation->server, {.tls = parsed.invocation->tls});
  if (!client.ok()) return ReportUsage(client.status().message(), "jobpool");
  Session session{.client = **client, .format = parsed.invocation->format};
  return parsed.invocation->command(session);
}

}  // namespace
}  // namespace jobpool::cli

int main(int argc, char** argv) {
  jobpool::cli::KeepStandardFiles();
  // gRPC's own lines on stderr would stand beside our one; who looks for them sets the variable.
  setenv("GRPC_VERBOSITY", "NONE", /*overwrite=*/0);
  jobpool::cli::ExitOnInterrupt();
  jobpool::cli::ExitStatus status = jobpool::cli::Main(argc, argv);
  if (const absl::Status written = jobpool::cli::FlushOutput(); !written.ok()) {
    jobpool::cli::Report(written);
    if (status == jobpool::cli::ExitStatus::kDone) status = jobpool::cli::ExitStatus::kRefused;
  }
  return static_cast<int>(status);
}
