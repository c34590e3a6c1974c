#include "server/app/config.h"

#include <cstdlib>

#include <CLI/CLI.hpp>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "server/base/listen_address.h"
#include "server/base/status_macros.h"

namespace jobpool {
namespace {

constexpr char kFooter[] = R"(
Example:
  jobpoold --grpc_listen=127.0.0.1:50051 --http_listen=127.0.0.1:9464

SIGTERM and SIGINT shut it down, a second one sooner. SIGHUP reads --config and the certificates again;
what is not valid is refused, and what was there stays.

Exit status: 0 after a shutdown, 2 if it could not start. Of --backup_to: 0 when the copy is there, 1 if the
copying failed, 2 if it could not begin.)";

// `protect`: the flags that say that others than this machine may reach it.
absl::Status CheckListen(const std::string& flag, const std::string& value, bool others_allowed,
                         const char* protect, bool unix_allowed) {
  const absl::StatusOr<ListenAddress> address = ListenAddress::Parse(value);
  if (!address.ok()) return absl::InvalidArgumentError(absl::StrCat(flag, ": ", address.status().message()));
  if (address->is_unix && !unix_allowed) {
    return absl::InvalidArgumentError(absl::StrCat(flag, ": cannot be a unix socket"));
  }
  if (!address->is_loopback && !others_allowed) {
    return absl::InvalidArgumentError(
        absl::StrCat(flag, ": ", value, " is not a loopback address; to listen there ", protect));
  }
  return absl::OkStatus();
}

absl::Status CheckTls(const std::string& prefix, const CertificatePaths& paths) {
  if (paths.chain.empty() && !paths.key.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(prefix, "_key needs ", prefix, "_cert"));
  }
  if (!paths.chain.empty() && paths.key.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(prefix, "_cert needs ", prefix, "_key"));
  }
  if (!paths.client_ca.empty() && paths.chain.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(prefix, "_client_ca needs ", prefix, "_cert"));
  }
  return absl::OkStatus();
}

// systemd's, else as the XDG Base Directory Specification 0.8 has it; empty: there is no home.
std::string DefaultStateDir() {
  const auto variable = [](const char* name) {
    const char* const value = std::getenv(name);
    return std::string(value != nullptr ? value : "");
  };
  // Several are separated by colons: the first is ours.
  if (std::string folder = variable("STATE_DIRECTORY"); !folder.empty()) {
    return folder.substr(0, folder.find(':'));
  }
  if (const std::string state = variable("XDG_STATE_HOME"); !state.empty()) return state + "/jobpool";
  const std::string home = variable("HOME");
  return home.empty() ? home : home + "/.local/state/jobpool";
}

absl::Status Check(const Config& config) {
  if (config.store == "sqlite" && config.state_dir.empty()) {
    return absl::InvalidArgumentError("--store=sqlite needs --state_dir, where HOME is not set");
  }
  if (config.backup_to.has_value() && config.store != "sqlite") {
    return absl::InvalidArgumentError("--backup_to: there is nothing to copy with --store=memory");
  }
  JOBPOOL_RETURN_IF_ERROR(CheckTls("--tls", config.grpc_tls));
  JOBPOOL_RETURN_IF_ERROR(CheckTls("--http_tls", config.http_tls));
  JOBPOOL_RETURN_IF_ERROR(CheckListen("--grpc_listen", config.grpc_listen,
                                      config.insecure || !config.grpc_tls.chain.empty(),
                                      "give --tls_cert and --tls_key, or say --insecure", true));
  if (config.echo_listen.has_value()) {
    JOBPOOL_RETURN_IF_ERROR(CheckListen("--echo_listen", *config.echo_listen, config.insecure,
                                        "say --insecure, since it is plain", false));
  }
  return CheckListen("--http_listen", config.http_listen,
                     config.http_insecure || !config.http_tls.chain.empty(),
                     "give --http_tls_cert and --http_tls_key, or say --http_insecure", false);
}

}  // namespace

CommandLine ParseCommandLine(int argc, const char* const* argv) {
  CommandLine line;
  Config& config = line.config;
  config.state_dir = DefaultStateDir();
  std::string drain_timeout = absl::FormatDuration(config.drain_timeout);
  CLI::App app("jobpoold runs jobs for whoever calls it over gRPC.", "jobpoold");
  app.set_version_flag("--version", "jobpoold " JOBPOOL_VERSION);
  app.add_option("--config", config.config_file,
                 "pools and limits: a file in Protobuf's text format, read again on SIGHUP");
  app.add_option("--plugin", config.plugins,
                 "load kinds of work, for custom jobs, from this shared library; may be repeated")
      ->allow_extra_args(false);
  app.add_flag("--validate_config", config.validate_config, "check flags and files, and end");
  app.add_option("--grpc_listen", config.grpc_listen, "where to serve gRPC: IP:PORT or unix:PATH")
      ->capture_default_str();
  app.add_option("--tls_cert", config.grpc_tls.chain,
                 "serve gRPC over TLS: the PEM file of the certificate and its issuers");
  app.add_option("--tls_key", config.grpc_tls.key, "the PEM file of that certificate's private key");
  app.add_option("--tls_client_ca", config.grpc_tls.client_ca,
                 "take only clients with a certificate of these authorities (PEM file)");
  app.add_flag("--insecure", config.insecure, "serve gRPC, and echo, without TLS off loopback");
  app.add_option("--max_message_bytes", config.max_message_bytes, "the largest message that is received")
      ->check(CLI::Range(1 << 10, 1 << 30))
      ->capture_default_str();
  app.add_flag("--channelz", config.channelz, "serve grpc.channelz.v1.Channelz, which looks into gRPC");
  app.add_option("--http_listen", config.http_listen, "where to serve /metrics, /healthz, /readyz: IP:PORT")
      ->capture_default_str();
  app.add_option("--http_tls_cert", config.http_tls.chain,
                 "serve HTTP over TLS: the PEM file of the certificate and its issuers");
  app.add_option("--http_tls_key", config.http_tls.key, "the PEM file of that certificate's private key");
  app.add_flag("--http_insecure", config.http_insecure, "serve HTTP without TLS off loopback");
  app.add_option("--echo_listen", config.echo_listen,
                 "where to send back what comes, in upper case, over plain TCP: IP:PORT (default: nowhere)");
  app.add_option("--store", config.store, "where jobs are kept: memory, or sqlite, a file in --state_dir")
      ->check(CLI::IsMember({"memory", "sqlite"}))
      ->capture_default_str();
  app.add_option("--state_dir", config.state_dir,
                 "the folder of the store's file (default: STATE_DIRECTORY, else jobpool in the user's state "
                 "folder)");
  app.add_option(
      "--backup_to", config.backup_to,
      "copy the store's file in --state_dir to this new file, also while a server uses it, and end");
  app.add_option("--drain_timeout", drain_timeout, "how long a shutdown waits for jobs, such as 25s, 0 to 1h")
      ->capture_default_str();
  app.add_option("--log_level", config.log_level, "what the log on stderr tells")
      ->check(CLI::IsMember({"trace", "debug", "info", "warn", "error", "off"}))
      ->capture_default_str();
  app.add_option("--log_format", config.log_format, "a line an event: text, or a JSON object")
      ->check(CLI::IsMember({"text", "json"}))
      ->capture_default_str();
  app.footer(kFooter);
  const auto refuse = [&](const std::string& why) {
    line.exit_status = 2;
    // One line, whatever the flags hold.
    line.text = absl::StrCat("jobpoold: ", absl::StrReplaceAll(why, {{"\n", " "}, {"\r", " "}}),
                             " (see jobpoold --help)");
    return line;
  };
  // CLI11 would take the next argument for the value.
  for (int i = 1; i < argc; ++i) {
    const absl::string_view argument = argv[i];
    if (absl::StartsWith(argument, "--") && argument.find('=') == argument.size() - 1) {
      return refuse(absl::StrCat(argument.substr(0, argument.size() - 1), ": the value is missing"));
    }
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    line.text = app.help();
    absl::StripTrailingAsciiWhitespace(&line.text);
    return line;
  } catch (const CLI::CallForVersion& version) {
    line.text = version.what();
    return line;
  } catch (const CLI::ParseError& error) {
    return refuse(error.what());
  }
  if (!absl::ParseDuration(drain_timeout, &config.drain_timeout) ||
      config.drain_timeout < absl::ZeroDuration() || config.drain_timeout > absl::Hours(1)) {
    return refuse(
        absl::StrCat("--drain_timeout: \"", drain_timeout, "\" is not a duration from 0 to 1h, such as 25s"));
  }
  if (const absl::Status status = Check(config); !status.ok()) return refuse(std::string(status.message()));
  line.run = true;
  return line;
}

}  // namespace jobpool
