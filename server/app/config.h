#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "server/pipeline/dispatcher.h"

namespace jobpool {

/// Everything that can be chosen about a server, checked.
struct Config {
  /// A ListenAddress.
  std::string grpc_listen = "127.0.0.1:50051";
  /// A ListenAddress, not a unix socket.
  std::string http_listen = "127.0.0.1:9464";
  /// IP:PORT or [IPv6]:PORT (port 0: any that is free) of the plain TCP echo; nothing: no echo.
  std::optional<std::string> echo_listen;
  /// Serve gRPC, and echo, without TLS where others than this machine can reach us.
  bool insecure = false;
  bool http_insecure = false;
  /// PEM files; both or none.
  std::string http_tls_cert;
  std::string http_tls_key;
  /// How long the end of the server waits for jobs before it cancels them.
  absl::Duration drain_timeout = absl::Seconds(25);
  /// trace, debug, info, warn, error or off.
  std::string log_level = "info";
  /// Ended jobs that the memory store keeps.
  int64_t max_ended_jobs = 100'000;
  /// `blocking` and `compute`.
  std::vector<PoolOptions> pools = DefaultPools();

  static std::vector<PoolOptions> DefaultPools();

  bool http_tls() const { return !http_tls_cert.empty(); }
};

/// What a command line asks for: a server, or just a text and an exit status.
struct CommandLine {
  Config config;
  bool run = false;
  int exit_status = 0;
  std::string text;  // for stdout if exit_status is 0, else for stderr
};

/// Never ends the program. A bad flag is an exit status of 2 and one line.
CommandLine ParseCommandLine(int argc, const char* const* argv);

}  // namespace jobpool
