#include "server/pipeline/request_ids.h"

#include <gtest/gtest.h>

#include "server/job/bounds.h"
#include "tests/support/error_details.h"
#include "tests/support/fake_clock.h"

namespace jobpool {
namespace {

RequestKey Key(uint64_t id, uint64_t payload = 0) { return {RequestId{id, id}, Fingerprint{payload, 0}}; }

class RequestIdsTest : public ::testing::Test {
 protected:
  std::string Find(uint64_t id) {
    MutexLock lock(ids_.mu());
    return ids_.Find(Key(id)).value();
  }
  void Remember(uint64_t id) {
    MutexLock lock(ids_.mu());
    ids_.Remember(Key(id), "job");
  }
  absl::Status CheckRoom(size_t count) {
    MutexLock lock(ids_.mu());
    return ids_.CheckRoom(count);
  }

  FakeClock clock_;
  RequestIds ids_{clock_, 3};
};

TEST_F(RequestIdsTest, KnowsTheJobOfEachRequest) {
  EXPECT_EQ(Find(1), "");
  Remember(1);
  EXPECT_EQ(Find(1), "job");
  EXPECT_EQ(Find(2), "");
}

TEST_F(RequestIdsTest, AnotherPayloadIsRefused) {
  Remember(1);
  MutexLock lock(ids_.mu());
  const absl::Status status = ids_.Find(Key(1, 7)).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(ReasonOf(status), "REQUEST_ID_REUSED");
  EXPECT_TRUE(FindDetail<google::rpc::PreconditionFailure>(status).has_value());
  EXPECT_EQ(MetadataOf(status)["name"], "jobs/job");
}

TEST_F(RequestIdsTest, RemembersForADay) {
  Remember(1);
  clock_.Advance(kRequestIdLifetime - absl::Milliseconds(1));
  ids_.ForgetExpired();
  EXPECT_EQ(Find(1), "job");
  clock_.Advance(absl::Milliseconds(1));
  ids_.ForgetExpired();
  EXPECT_EQ(Find(1), "");
}

TEST_F(RequestIdsTest, ForgetsNoneBeforeItsTimeButRefusesMore) {
  Remember(1);
  clock_.Advance(absl::Hours(1));
  Remember(2);
  EXPECT_TRUE(CheckRoom(1).ok());
  EXPECT_FALSE(CheckRoom(2).ok());
  Remember(3);
  EXPECT_TRUE(CheckRoom(0).ok());
  const absl::Status status = CheckRoom(1);
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(ReasonOf(status), "REQUEST_IDS_FULL");
  EXPECT_EQ(RetryDelayOf(status), absl::Hours(23));  // when the first goes
  EXPECT_EQ(RetryDelayOf(CheckRoom(2)), absl::Hours(24));
  EXPECT_EQ(RetryDelayOf(CheckRoom(4)), absl::Hours(24));  // never; as good as any
  clock_.Advance(absl::Hours(23));
  EXPECT_TRUE(CheckRoom(1).ok());  // without anybody having forgotten
  EXPECT_EQ(Find(1), "");
  EXPECT_EQ(Find(2), "job");
}

TEST_F(RequestIdsTest, ALowerBoundForgetsNoneAndStopsOnlyNewOnes) {
  Remember(1);
  Remember(2);
  ids_.set_max_ids(0);
  EXPECT_EQ(Find(1), "job");
  EXPECT_TRUE(CheckRoom(0).ok());
  EXPECT_FALSE(CheckRoom(1).ok());
}

}  // namespace
}  // namespace jobpool
