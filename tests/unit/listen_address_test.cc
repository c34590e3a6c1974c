#include "server/base/listen_address.h"

#include <string>

#include <gtest/gtest.h>

namespace jobpool {
namespace {

TEST(ListenAddressTest, TakesAnAddressApart) {
  const auto v4 = ListenAddress::Parse("192.0.2.1:80");
  ASSERT_TRUE(v4.ok()) << v4.status();
  EXPECT_EQ(v4->host, "192.0.2.1");
  EXPECT_EQ(v4->port, 80);
  EXPECT_FALSE(v4->is_ipv6 || v4->is_unix || v4->is_loopback);
  const auto v6 = ListenAddress::Parse("[2001:db8::1]:65535");
  ASSERT_TRUE(v6.ok()) << v6.status();
  EXPECT_EQ(v6->host, "2001:db8::1");
  EXPECT_EQ(v6->port, 65535);
  EXPECT_TRUE(v6->is_ipv6);
  EXPECT_FALSE(v6->is_unix || v6->is_loopback);
  const auto path = ListenAddress::Parse("unix:/run/x:1");
  ASSERT_TRUE(path.ok()) << path.status();
  EXPECT_EQ(path->path, "/run/x:1");
  EXPECT_TRUE(path->is_unix && path->is_loopback);
}

TEST(ListenAddressTest, KnowsLoopback) {
  for (const char* text : {"127.0.0.1:0", "127.255.255.255:1", "localhost:0", "[::1]:0", "unix:x"}) {
    EXPECT_TRUE(ListenAddress::Parse(text)->is_loopback) << text;
  }
  for (const char* text : {"0.0.0.0:0", "128.0.0.1:0", "[::]:0", "[::2]:0", "[::ffff:127.0.0.1]:0"}) {
    EXPECT_FALSE(ListenAddress::Parse(text)->is_loopback) << text;
  }
}

TEST(ListenAddressTest, ShowsThePortThatItGot) {
  EXPECT_EQ(ListenAddress::Parse("127.0.0.1:0")->ToString(81), "127.0.0.1:81");
  EXPECT_EQ(ListenAddress::Parse("[::1]:0")->ToString(81), "[::1]:81");
  EXPECT_EQ(ListenAddress::Parse("unix:x")->ToString(81), "unix:x");
}

TEST(ListenAddressTest, BoundsOfPortAndPath) {
  EXPECT_TRUE(ListenAddress::Parse("127.0.0.1:65535").ok());
  EXPECT_FALSE(ListenAddress::Parse("127.0.0.1:65536").ok());
  EXPECT_TRUE(ListenAddress::Parse("unix:" + std::string(107, 'x')).ok());
  EXPECT_FALSE(ListenAddress::Parse("unix:" + std::string(108, 'x')).ok());
}

TEST(ListenAddressTest, RefusesWhatIsNone) {
  for (const char* text : {"", "x", "127.0.0.1", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:-1", "127.0.0.1:+1",
                           "127.0.0.1: 1", "127.0.0.1:01", ":0", "example.com:1", "1.2.3:0", "[::1:0",
                           "::1:0", "[]:0", "[127.0.0.1]:0", "127.0.0.1:0\n", "unix:"}) {
    const auto address = ListenAddress::Parse(text);
    ASSERT_FALSE(address.ok()) << text;
    EXPECT_EQ(address.status().code(), absl::StatusCode::kInvalidArgument) << text;
  }
}

}  // namespace
}  // namespace jobpool
