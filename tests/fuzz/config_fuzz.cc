// Listen addresses and the server's flags: whatever they are, a checked configuration or one line of refusal.

#include <fuzzer/FuzzedDataProvider.h>
#include <string>
#include <vector>

#include "server/app/config.h"
#include "server/base/listen_address.h"
#include "tests/fuzz/check.h"

namespace jobpool {
namespace {

void CheckAddress(const std::string& text) {
  const absl::StatusOr<ListenAddress> address = ListenAddress::Parse(text);
  if (!address.ok()) {
    FUZZ_CHECK(absl::IsInvalidArgument(address.status()) && !address.status().message().empty());
    return;
  }
  FUZZ_CHECK(address->port >= 0 && address->port <= 65535);
  FUZZ_CHECK(address->is_unix == !address->path.empty() && address->is_unix == address->host.empty());
  // As it is shown it reads as the same.
  const std::string shown = address->ToString(address->port);
  const absl::StatusOr<ListenAddress> again = ListenAddress::Parse(shown);
  FUZZ_CHECK(again.ok() && again->ToString(again->port) == shown &&
             again->is_loopback == address->is_loopback);
}

// Whether others than this machine can reach it.
bool IsOpen(const std::string& text) {
  const absl::StatusOr<ListenAddress> address = ListenAddress::Parse(text);
  FUZZ_CHECK(address.ok());
  return !address->is_loopback;
}

void CheckFlags(const std::vector<std::string>& flags) {
  std::vector<const char*> arguments = {"jobpoold"};
  for (const std::string& flag : flags) arguments.push_back(flag.c_str());
  const CommandLine line = ParseCommandLine(static_cast<int>(arguments.size()), arguments.data());
  if (!line.run) {
    FUZZ_CHECK(!line.text.empty() && (line.exit_status == 0 || line.exit_status == 2));
    FUZZ_CHECK(line.exit_status == 0 || line.text.find_first_of("\r\n") == std::string::npos);
    return;
  }
  const Config& config = line.config;
  FUZZ_CHECK(line.exit_status == 0);
  FUZZ_CHECK(!IsOpen(config.grpc_listen) || config.insecure || !config.grpc_tls.chain.empty());
  FUZZ_CHECK(!IsOpen(config.http_listen) || config.http_insecure || !config.http_tls.chain.empty());
  for (const CertificatePaths& paths : {config.grpc_tls, config.http_tls}) {
    FUZZ_CHECK(paths.chain.empty() == paths.key.empty() && (paths.client_ca.empty() || !paths.chain.empty()));
  }
  FUZZ_CHECK(!config.echo_listen.has_value() || !IsOpen(*config.echo_listen) || config.insecure);
  FUZZ_CHECK(config.drain_timeout >= absl::ZeroDuration() && config.drain_timeout <= absl::Hours(1));
}

}  // namespace
}  // namespace jobpool

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  FuzzedDataProvider data(bytes, size);
  if (data.ConsumeBool()) {
    jobpool::CheckAddress(data.ConsumeRemainingBytesAsString());
    return 0;
  }
  std::vector<std::string> flags;
  while (data.remaining_bytes() > 0 && flags.size() < 10) flags.push_back(data.ConsumeRandomLengthString());
  jobpool::CheckFlags(flags);
  return 0;
}
