#include "server/service/page_size.h"

#include <gtest/gtest.h>

#include "server/job/bounds.h"

namespace jobpool {
namespace {

size_t Decoded(int32_t asked, int default_size, int max) {
  Violations violations;
  const size_t size = DecodePageSize(asked, default_size, max, violations);
  EXPECT_TRUE(violations.empty()) << asked;
  return size;
}

TEST(PageSizeTest, OfThreadsIsCutAtTenThousand) {
  const auto decoded = [](int32_t asked) {
    return Decoded(asked, kDefaultThreadPageSize, kMaxThreadPageSize);
  };
  EXPECT_EQ(decoded(0), 1'000u);
  EXPECT_EQ(decoded(9'999), 9'999u);
  EXPECT_EQ(decoded(10'000), 10'000u);
  EXPECT_EQ(decoded(10'001), 10'000u);
  EXPECT_EQ(decoded(INT32_MAX), 10'000u);
}

TEST(PageSizeTest, OfAllElseIsCutAtAThousand) {
  const auto decoded = [](int32_t asked) { return Decoded(asked, kDefaultPageSize, kMaxPageSize); };
  EXPECT_EQ(decoded(0), 50u);
  EXPECT_EQ(decoded(1), 1u);
  EXPECT_EQ(decoded(1'000), 1'000u);
  EXPECT_EQ(decoded(1'001), 1'000u);
}

TEST(PageSizeTest, NegativeIsAViolation) {
  Violations violations;
  DecodePageSize(-1, kDefaultPageSize, kMaxPageSize, violations);
  EXPECT_FALSE(violations.ToStatus().ok());
}

}  // namespace
}  // namespace jobpool
