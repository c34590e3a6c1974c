#pragma once

#include <string>

#include "absl/status/statusor.h"

namespace jobpool {

/// An address to listen on, taken apart: IP:PORT, [IPv6]:PORT (port 0: any that
/// is free; `localhost` is 127.0.0.1) or unix:PATH.
struct ListenAddress {
  std::string host;  // without brackets
  int port = 0;
  bool is_unix = false;
  std::string path;  // of a unix socket
  bool is_ipv6 = false;
  bool is_loopback = false;

  /// INVALID_ARGUMENT: it is not an address of these forms.
  static absl::StatusOr<ListenAddress> Parse(const std::string& text);

  /// As it is given; `actual_port` in place of port 0.
  std::string ToString(int actual_port) const;
};

}  // namespace jobpool
