#include "server/pipeline/retry_slots.h"

#include <chrono>
#include <map>
#include <random>

#include <gtest/gtest.h>

namespace jobpool {
namespace {

constexpr absl::Duration kInterval = absl::Milliseconds(200);
constexpr int64_t kMax = 20;

class RetrySlotsTest : public ::testing::Test {
 protected:
  bool Admit(uint64_t caller, int64_t free, int64_t places = 1) {
    return slots_.Admit(caller, now_, places, free, kMax, kInterval);
  }
  absl::Duration Refuse(uint64_t caller, absl::Duration interval = kInterval) {
    return slots_.Refuse(caller, now_, 1, interval);
  }
  void Advance(absl::Duration time) { now_ = Later(now_, time); }

  RetrySlots slots_;
  MonotonicTime now_{std::chrono::hours(1)};
};

TEST_F(RetrySlotsTest, EachComesAtATimeOfItsOwn) {
  for (int i = 1; i <= 5; ++i) EXPECT_EQ(Refuse(static_cast<uint64_t>(i)), i * kInterval);
}

TEST_F(RetrySlotsTest, DelaysAreBounded) {
  EXPECT_EQ(Refuse(1, absl::ZeroDuration()), absl::Milliseconds(100));
  EXPECT_EQ(Refuse(2, absl::Hours(1)), absl::Minutes(5));
  EXPECT_EQ(Refuse(3, absl::Hours(1)), absl::Minutes(5));
}

TEST_F(RetrySlotsTest, NobodyIsLetInWithoutRoom) {
  Refuse(1);
  Advance(kInterval);
  EXPECT_FALSE(Admit(1, 0));
  EXPECT_TRUE(Admit(1, 1));
}

TEST_F(RetrySlotsTest, WhoWaitedIsNotOvertaken) {
  Refuse(1);
  EXPECT_FALSE(Admit(2, 1));  // the place is kept
  EXPECT_TRUE(Admit(2, 2));   // there is another
  Advance(kInterval);
  EXPECT_FALSE(Admit(2, 1));
  EXPECT_TRUE(Admit(1, 1));
  EXPECT_TRUE(Admit(2, 1));  // now nobody is expected
}

TEST_F(RetrySlotsTest, WhoComesTooEarlyGivesWayOnlyToThoseBefore) {
  Refuse(1);
  Refuse(2);
  Refuse(2);
  Refuse(3);
  EXPECT_FALSE(Admit(2, 1));  // kept for 1
  EXPECT_TRUE(Admit(2, 2));   // not for itself
  EXPECT_TRUE(Admit(1, 1));   // nor for those behind
  EXPECT_TRUE(Admit(2, 1));
  EXPECT_FALSE(Admit(2, 1));  // kept for 3
  EXPECT_TRUE(Admit(3, 1));
  EXPECT_TRUE(Admit(2, 1));
  EXPECT_TRUE(slots_.empty());
}

TEST_F(RetrySlotsTest, ASlotIsWorthWhatWasRefused) {
  for (uint64_t caller = 1; caller <= 5; ++caller) Refuse(caller);
  EXPECT_FALSE(Admit(1, 5, /*places=*/5));  // the others' too
  Advance(5 * kInterval);
  EXPECT_FALSE(Admit(1, 5, /*places=*/5));
  for (uint64_t caller = 1; caller <= 5; ++caller)
    EXPECT_TRUE(Admit(caller, 6 - static_cast<int64_t>(caller)));
}

TEST_F(RetrySlotsTest, RoomIsKeptForHalfASecond) {
  Refuse(1);
  Advance(kInterval + absl::Milliseconds(500));
  EXPECT_FALSE(Admit(2, 1));
  Advance(absl::Milliseconds(1));
  EXPECT_TRUE(Admit(2, 1));
  EXPECT_TRUE(slots_.empty());
}

TEST_F(RetrySlotsTest, AtMostHalfOfThePlacesAreKept) {
  for (uint64_t caller = 1; caller <= 1000; ++caller) slots_.Refuse(caller, now_, 1, absl::ZeroDuration());
  Advance(absl::Milliseconds(100));
  EXPECT_FALSE(Admit(5000, kMax / 2));
  EXPECT_TRUE(Admit(5000, kMax / 2 + 1));
}

TEST_F(RetrySlotsTest, WhoHasNoNumberMayBeAnybody) {
  Refuse(0);
  Advance(kInterval);
  EXPECT_TRUE(Admit(7, 1));
  EXPECT_FALSE(Admit(8, 0));
  EXPECT_TRUE(slots_.empty());
}

TEST_F(RetrySlotsTest, WhereFewComeBackMoreAreToldTheSameTime) {
  for (int i = 0; i < 1000; ++i) {
    Refuse(static_cast<uint64_t>(i + 1));
    Advance(kInterval + absl::Seconds(1));
    Admit(0, 0);
  }
  const absl::Duration first = Refuse(1);
  EXPECT_LE(Refuse(2) - first, kInterval / 8);
}

TEST_F(RetrySlotsTest, RemembersNoMoreThanItsBound) {
  for (size_t i = 0; i < RetrySlots::kMaxSlots + 10; ++i) Refuse(i + 1, absl::ZeroDuration());
  Advance(absl::Milliseconds(100));
  EXPECT_TRUE(Admit(1, 1));
  EXPECT_FALSE(Admit(RetrySlots::kMaxSlots + 1, 1));  // is not expected
}

// Ten times as many as can be served, each of whom comes back when it was told to: all
// but a few get in then.
TEST_F(RetrySlotsTest, CallersThatWaitGetIn) {
  std::mt19937 random(1);
  std::multimap<MonotonicTime, std::pair<uint64_t, bool>> arrivals;  // who comes when, and whether again
  for (uint64_t caller = 1; caller <= 2000; ++caller) {
    arrivals.emplace(Later(now_, absl::Milliseconds(static_cast<int>(random() % 40'000))),
                     std::pair(caller, false));
  }
  int64_t queued = kMax;
  MonotonicTime next_drain = Later(now_, kInterval);
  int came_again = 0;
  int got_in = 0;
  while (!arrivals.empty() && came_again < 500) {
    const auto [when, who] = *arrivals.begin();
    arrivals.erase(arrivals.begin());
    for (; next_drain <= when; next_drain = Later(next_drain, kInterval)) queued -= queued > 0;
    now_ = when;
    const auto& [caller, again] = who;
    const bool admitted = slots_.Admit(caller, now_, 1, kMax - queued, kMax, kInterval);
    came_again += again;
    got_in += again && admitted;
    if (admitted) {
      ++queued;
    } else {
      const absl::Duration late = absl::Milliseconds(static_cast<int>(random() % 50));
      arrivals.emplace(Later(now_, Refuse(caller) + late), std::pair(caller, true));
    }
  }
  EXPECT_GE(got_in, came_again * 9 / 10) << "of " << came_again;
}

}  // namespace
}  // namespace jobpool
