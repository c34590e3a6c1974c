#include "server/app/config.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <CLI/CLI.hpp>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "server/app/cpu_quota.h"

namespace jobpool {
namespace {

constexpr char kFooter[] = R"(
Example:
  jobpoold --grpc_listen=127.0.0.1:50051 --http_listen=127.0.0.1:9464

Exit status: 0 after a shutdown by SIGTERM or SIGINT, 2 if it could not start.)";

absl::Status CheckListen(const std::string& flag, const std::string& value, bool insecure,
                         const char* insecure_flag, bool unix_allowed) {
  const absl::StatusOr<ListenAddress> address = ListenAddress::Parse(value);
  if (!address.ok()) return absl::InvalidArgumentError(absl::StrCat(flag, ": ", address.status().message()));
  if (address->is_unix && !unix_allowed) {
    return absl::InvalidArgumentError(absl::StrCat(flag, ": cannot be a unix socket"));
  }
  if (!address->is_loopback && !insecure) {
    return absl::InvalidArgumentError(absl::StrCat(
        flag, ": ", value, " is not a loopback address; to listen there without TLS, say ", insecure_flag));
  }
  return absl::OkStatus();
}

absl::Status Check(const Config& config) {
  if (const absl::Status status =
          CheckListen("--grpc_listen", config.grpc_listen, config.insecure, "--insecure", true);
      !status.ok()) {
    return status;
  }
  if (config.echo_listen.has_value()) {
    const absl::Status status =
        CheckListen("--echo_listen", *config.echo_listen, config.insecure, "--insecure", false);
    if (!status.ok()) return status;
  }
  return CheckListen("--http_listen", config.http_listen, config.http_insecure, "--http_insecure", false);
}

}  // namespace

std::vector<PoolOptions> Config::DefaultPools() {
  PoolOptions blocking;
  blocking.name = "blocking";
  blocking.max_threads = 256;
  PoolOptions compute;
  compute.name = "compute";
  compute.min_threads = compute.max_threads = CpuQuota();
  return {blocking, compute};
}

CommandLine ParseCommandLine(int argc, const char* const* argv) {
  CommandLine line;
  Config& config = line.config;
  std::string store = "memory";
  std::string drain_timeout = absl::FormatDuration(config.drain_timeout);
  CLI::App app("jobpoold runs jobs for whoever calls it over gRPC.", "jobpoold");
  app.set_version_flag("--version", "jobpoold " JOBPOOL_VERSION);
  app.add_option("--grpc_listen", config.grpc_listen, "where to serve gRPC: IP:PORT or unix:PATH")
      ->capture_default_str();
  app.add_option("--http_listen", config.http_listen, "where to serve /metrics, /healthz, /readyz: IP:PORT")
      ->capture_default_str();
  app.add_option("--echo_listen", config.echo_listen,
                 "where to send back what comes, in upper case, over plain TCP: IP:PORT (default: nowhere)");
  app.add_flag("--insecure", config.insecure, "serve gRPC, and echo, without TLS off loopback");
  app.add_flag("--http_insecure", config.http_insecure, "serve HTTP without TLS off loopback");
  app.add_option("--store", store, "where ended jobs are kept")
      ->check(CLI::IsMember({"memory"}))
      ->capture_default_str();
  app.add_option("--drain_timeout", drain_timeout, "how long a shutdown waits for jobs, such as 25s, 0 to 1h")
      ->capture_default_str();
  app.add_option("--log_level", config.log_level, "what the log on stderr tells")
      ->check(CLI::IsMember({"trace", "debug", "info", "warn", "error", "off"}))
      ->capture_default_str();
  app.footer(kFooter);
  const auto refuse = [&](const std::string& why) {
    line.exit_status = 2;
    // One line, whatever the flags hold.
    line.text = absl::StrCat("jobpoold: ", absl::StrReplaceAll(why, {{"\n", " "}, {"\r", " "}}),
                             " (see jobpoold --help)");
    return line;
  };
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

absl::StatusOr<ListenAddress> ListenAddress::Parse(const std::string& text) {
  ListenAddress address;
  const auto bad = [&](absl::string_view why) {
    return absl::InvalidArgumentError(absl::StrCat("\"", text, "\" ", why));
  };
  if (absl::StartsWith(text, "unix:")) {
    address.is_unix = address.is_loopback = true;
    address.path = text.substr(5);
    // sockaddr_un.sun_path holds 108 bytes with its NUL (unix(7)).
    if (address.path.empty() || address.path.size() > 107) return bad("needs a path of 1 to 107 bytes");
    return address;
  }
  const size_t colon = text.rfind(':');
  int port = 0;
  // SimpleAtoi takes blanks and signs, which no port has.
  if (colon == std::string::npos || !absl::SimpleAtoi(text.substr(colon + 1), &port) ||
      absl::StrCat(port) != text.substr(colon + 1) || port < 0 || port > 65535) {
    return bad("is not IP:PORT");
  }
  address.port = port;
  address.host = text.substr(0, colon);
  if (address.host.size() > 2 && address.host.front() == '[' && address.host.back() == ']') {
    address.is_ipv6 = true;
    address.host = address.host.substr(1, address.host.size() - 2);
  } else if (address.host == "localhost") {
    address.host = "127.0.0.1";
  }
  in_addr v4{};
  in6_addr v6{};
  if (address.is_ipv6 && inet_pton(AF_INET6, address.host.c_str(), &v6) == 1) {
    address.is_loopback = IN6_IS_ADDR_LOOPBACK(&v6);
  } else if (!address.is_ipv6 && inet_pton(AF_INET, address.host.c_str(), &v4) == 1) {
    address.is_loopback = (ntohl(v4.s_addr) >> 24) == 127;
  } else {
    return bad("is not IP:PORT");
  }
  return address;
}

std::string ListenAddress::ToString(int actual_port) const {
  if (is_unix) return absl::StrCat("unix:", path);
  return is_ipv6 ? absl::StrCat("[", host, "]:", actual_port) : absl::StrCat(host, ":", actual_port);
}

}  // namespace jobpool
