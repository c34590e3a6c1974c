#include "server/job/request_id.h"

#include <gtest/gtest.h>

namespace jobpool {
namespace {

constexpr char kUuid[] = "5f0c6b1e-7a1d-4c0e-9d55-3b1f0e8f2a46";

TEST(RequestIdTest, IsTheBytesOfAUuidInEitherCase) {
  const auto id = ParseRequestId(kUuid);
  ASSERT_TRUE(id.has_value());
  EXPECT_EQ(id->high, 0x5f0c6b1e7a1d4c0eu);
  EXPECT_EQ(id->low, 0x9d553b1f0e8f2a46u);
  EXPECT_EQ(*id, *ParseRequestId("5F0C6B1E-7A1D-4C0E-9D55-3B1F0E8F2A46"));
}

TEST(RequestIdTest, WhatIsNoUuidIsRefused) {
  for (const char* text :
       {"", "5f0c6b1e", "5f0c6b1e-7a1d-4c0e-9d55-3b1f0e8f2a4", "5f0c6b1e-7a1d-4c0e-9d55-3b1f0e8f2a466",
        "5f0c6b1e77a1d-4c0e-9d55-3b1f0e8f2a46", "{f0c6b1e-7a1d-4c0e-9d55-3b1f0e8f2a46",
        "gf0c6b1e-7a1d-4c0e-9d55-3b1f0e8f2a46", "5f0c6b1e7a1d4c0e9d553b1f0e8f2a46aaaa",
        "00000000-0000-0000-0000-000000000000", "5f0c6b1e-7a1d-4c0e-9d55 3b1f0e8f2a46"}) {
    EXPECT_FALSE(ParseRequestId(text).has_value()) << text;
  }
}

TEST(RequestIdTest, TheLeastAndTheLargestAreIds) {
  EXPECT_TRUE(ParseRequestId("00000000-0000-0000-0000-000000000001").has_value());
  EXPECT_TRUE(ParseRequestId("ffffffff-ffff-ffff-ffff-ffffffffffff").has_value());
}

}  // namespace
}  // namespace jobpool
