#include "server/base/listen_address.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace jobpool {

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
