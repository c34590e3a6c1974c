#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "server/tls/certificate_files.h"

namespace jobpool {

/// What the command line chooses about a server, checked but for the files that it
/// names: see Files.
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
  /// Empty paths: without TLS. A certificate has its key.
  CertificatePaths grpc_tls;
  CertificatePaths http_tls;
  /// Path of the config file; empty: none, and its defaults hold.
  std::string config_file;
  /// Paths of the plug-ins, in the order in which they are loaded.
  std::vector<std::string> plugins = {};
  /// Where jobs are kept: memory or sqlite.
  std::string store = "sqlite";
  /// The folder of the sqlite store; "": none could be found, and none is needed.
  std::string state_dir = {};
  /// How long the end of the server waits for jobs before it cancels them.
  absl::Duration drain_timeout = absl::Seconds(25);
  /// The largest message that is received, in bytes, 1 KiB to 1 GiB.
  int max_message_bytes = 16 << 20;
  /// trace, debug, info, warn, error or off.
  std::string log_level = "info";
  /// text or json.
  std::string log_format = "text";
  /// Serve grpc.channelz.v1.Channelz.
  bool channelz = false;
  /// Copy the store's file to this one, and end; unset: serve.
  std::optional<std::string> backup_to = {};
  /// Check flags and files, and end.
  bool validate_config = false;
};

/// What a command line asks for: a server, or just a text and an exit status.
struct CommandLine {
  Config config;
  bool run = false;
  int exit_status = 0;
  std::string text;  // for stdout if exit_status is 0, else for stderr
};

/// Never ends the program, and opens no file. A bad flag is an exit status of 2 and
/// one line.
CommandLine ParseCommandLine(int argc, const char* const* argv);

}  // namespace jobpool
