#include "server/pipeline/kind_limits.h"

#include <atomic>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "server/job/errors.h"
#include "tests/support/error_details.h"
#include "tests/support/eventually.h"
#include "tests/support/fake_clock.h"

namespace jobpool {
namespace {

class Pool final : public HeldUp {
 public:
  void LetGo(Kind kind) override {
    last = kind;
    ++times;
  }
  std::atomic<Kind> last{Kind::kSleep};
  std::atomic<int> times{0};
};

KindOptionsByKind Of(Kind kind, KindOptions options) {
  KindOptionsByKind by_kind;
  by_kind[static_cast<size_t>(kind)] = options;
  return by_kind;
}

class KindLimitsTest : public ::testing::Test {
 protected:
  FakeClock clock_;
  ThreadRegistry registry_;
  Timer timer_{registry_, clock_};
  Pool pool_;
  Pool other_;
};

TEST_F(KindLimitsTest, SoManyRunAtATimeOverAllPools) {
  KindLimits limits(timer_, Of(Kind::kPi, {2, 0, 0}));
  EXPECT_TRUE(limits.TryStart(Kind::kPi, pool_));
  EXPECT_TRUE(limits.TryStart(Kind::kPi, other_));
  EXPECT_FALSE(limits.TryStart(Kind::kPi, pool_));
  EXPECT_TRUE(limits.TryStart(Kind::kHash, pool_));
  limits.Ended(Kind::kPi);
  EXPECT_EQ(pool_.times, 1);
  EXPECT_EQ(pool_.last, Kind::kPi);
  EXPECT_EQ(other_.times, 0);  // it was not held up
  EXPECT_TRUE(limits.TryStart(Kind::kPi, other_));
  EXPECT_FALSE(limits.TryStart(Kind::kPi, pool_));
}

TEST_F(KindLimitsTest, ANewLimitCountsThoseThatRun) {
  KindLimits limits(timer_, {});
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(limits.TryStart(Kind::kPi, pool_));
  limits.Reconfigure(Of(Kind::kPi, {2, 0, 0}));
  limits.Ended(Kind::kPi);
  EXPECT_FALSE(limits.TryStart(Kind::kPi, pool_));
  limits.Ended(Kind::kPi);
  EXPECT_TRUE(limits.TryStart(Kind::kPi, pool_));
  EXPECT_FALSE(limits.TryStart(Kind::kPi, pool_));
  const int before = pool_.times;
  limits.Reconfigure({});
  EXPECT_EQ(pool_.times, before + 1);
  EXPECT_TRUE(limits.TryStart(Kind::kPi, pool_));
}

TEST_F(KindLimitsTest, StartsAreSpreadByTheClock) {
  KindLimits limits(timer_, Of(Kind::kPi, {0, 2, 0}));
  EXPECT_TRUE(limits.TryStart(Kind::kPi, pool_));
  EXPECT_FALSE(limits.TryStart(Kind::kPi, pool_));
  EXPECT_FALSE(limits.TryStart(Kind::kPi, other_));
  clock_.Advance(absl::Milliseconds(500));
  EXPECT_TRUE(Eventually([&] { return pool_.times == 1 && other_.times == 1; }));
  EXPECT_TRUE(limits.TryStart(Kind::kPi, pool_));
  EXPECT_FALSE(limits.TryStart(Kind::kPi, other_));
}

TEST_F(KindLimitsTest, SubmitsBeyondTheRateAreRefused) {
  KindLimits limits(timer_, Of(Kind::kPi, {0, 0, 2}));
  EXPECT_TRUE(limits.TrySubmit(Kind::kPi, 2).ok());
  const absl::Status refused = limits.TrySubmit(Kind::kPi, 1);
  EXPECT_EQ(ReasonOf(refused), "RATE_REACHED");
  EXPECT_EQ(MetadataOf(refused)["subject"], "pi");
  EXPECT_EQ(RetryDelayOf(refused), absl::Milliseconds(500));
  limits.TakeBack(Kind::kPi, 1);
  EXPECT_TRUE(limits.TrySubmit(Kind::kPi, 1).ok());
  EXPECT_TRUE(limits.TrySubmit(Kind::kHash, 1000).ok());
}

// Whoever is held up while another ends is told, whichever comes first.
TEST_F(KindLimitsTest, NobodyIsForgotten) {
  KindLimits limits(timer_, Of(Kind::kPi, {1, 0, 0}));
  std::vector<std::thread> threads;
  std::atomic<int> running{0};
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      Pool own;
      for (int i = 0; i < 200; ++i) {
        const int told = own.times;
        while (!limits.TryStart(Kind::kPi, own)) {
          if (!Eventually([&] { return own.times > told; })) return;
        }
        EXPECT_EQ(++running, 1);
        --running;
        limits.Ended(Kind::kPi);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace jobpool
