#include "server/pipeline/job_events.h"

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "tests/support/eventually.h"
#include "tests/support/fake_clock.h"
#include "tests/support/job_builder.h"

namespace jobpool {
namespace {

constexpr int64_t kMaxEvents = 10;

std::shared_ptr<const JobRecord> Shared(absl::string_view id) {
  return std::make_shared<const JobRecord>(MakeRecord(id));
}

std::vector<std::string> IdsAfter(const JobEvents& events, uint64_t sequence) {
  std::vector<std::string> ids;
  for (const SharedJobEvent& event : events.After(sequence, 1000)) ids.push_back(event->job->id);
  return ids;
}

class JobEventsTest : public ::testing::Test {
 protected:
  void Record(absl::string_view id) { events_.Record(JobEventType::kChanged, Shared(id)); }

  FakeClock clock_;
  JobEvents events_{clock_, kMaxEvents};
};

TEST_F(JobEventsTest, NothingIsKeptUntilSomebodyWatches) {
  EXPECT_FALSE(events_.active());
  Record("a");
  EXPECT_EQ(events_.last(), 0);
  events_.Watch();
  EXPECT_TRUE(events_.active());
  Record("b");
  EXPECT_EQ(IdsAfter(events_, 0), std::vector<std::string>{"b"});
}

TEST_F(JobEventsTest, InTheirOrder) {
  events_.Watch();
  for (const char* id : {"a", "b", "c"}) Record(id);
  EXPECT_EQ(events_.last(), 3);
  EXPECT_EQ(IdsAfter(events_, 0), (std::vector<std::string>{"a", "b", "c"}));
  EXPECT_EQ(IdsAfter(events_, 2), std::vector<std::string>{"c"});
  EXPECT_TRUE(IdsAfter(events_, 3).empty());
  EXPECT_EQ(events_.After(0, 2).size(), 2);
  EXPECT_EQ(events_.Find(2)->job->id, "b");
  EXPECT_EQ(events_.Find(2)->sequence, 2);
  EXPECT_EQ(events_.Find(0), nullptr);
  EXPECT_EQ(events_.Find(4), nullptr);
}

TEST_F(JobEventsTest, OutputIsKeptFromWhenSomebodyAsksForIt) {
  events_.Watch();
  EXPECT_FALSE(events_.wants_output());
  events_.Watch(/*with_output=*/true);
  EXPECT_TRUE(events_.wants_output());
  events_.Record(JobEventType::kOutput, Shared("a"), nullptr, std::nullopt,
                 JobOutput{OutputStream::kErr, std::string(1000, 'x')});
  EXPECT_EQ(events_.Find(1)->output->bytes.size(), 1000u);
  EXPECT_GE(events_.Find(1)->Bytes(), 1000u + events_.Find(1)->job->Bytes());
  events_.Unwatch(/*with_output=*/true);
  events_.ForgetUnwatched();
  EXPECT_TRUE(events_.wants_output());  // who goes on will want it
  clock_.Advance(JobEvents::kKeptUnwatched);
  events_.ForgetUnwatched();
  EXPECT_FALSE(events_.wants_output());  // though somebody watches
  EXPECT_TRUE(events_.active());
}

TEST_F(JobEventsTest, TheOldestGoFirst) {
  events_.Watch();
  for (int i = 1; i <= kMaxEvents + 1; ++i) Record("a");
  EXPECT_EQ(events_.Find(1), nullptr);
  EXPECT_NE(events_.Find(2), nullptr);
  EXPECT_EQ(events_.After(0, 1000).size(), kMaxEvents);
  EXPECT_FALSE(events_.IsKnownAfter(0));
  EXPECT_TRUE(events_.IsKnownAfter(1));
  EXPECT_TRUE(events_.IsKnownAfter(kMaxEvents + 1));
  EXPECT_FALSE(events_.IsKnownAfter(kMaxEvents + 2));
  EXPECT_FALSE(events_.IsKnownAfter(UINT64_MAX));
}

TEST_F(JobEventsTest, FewerWhenThatIsTheLimitNow) {
  events_.Watch();
  for (int i = 1; i <= kMaxEvents; ++i) Record("a");
  events_.set_max_events(3);
  Record("a");
  EXPECT_EQ(events_.After(0, 1000).size(), 3);
}

TEST_F(JobEventsTest, BoundedInBytesButForTheNewest) {
  events_.Watch();
  JobRecord large = MakeRecord("large");
  large.work = NoopWork{std::make_shared<const std::string>(kMaxEvents * JobEvents::kBytesPerEvent, 'x')};
  Record("small");
  events_.Record(JobEventType::kCreated, std::make_shared<const JobRecord>(large));
  EXPECT_EQ(IdsAfter(events_, 0).size(), 2);  // the payload of a live job is the job table's to count
  large.state = JobState::kCancelled;
  events_.Record(JobEventType::kEnded, std::make_shared<const JobRecord>(large));
  EXPECT_EQ(IdsAfter(events_, 0), std::vector<std::string>{"large"});
  Record("small");
  EXPECT_EQ(IdsAfter(events_, 0), std::vector<std::string>{"small"});
  for (int i = 0; i < 3; ++i) Record("small");
  EXPECT_EQ(IdsAfter(events_, 0).size(), 4);  // what went is not counted any more
}

TEST_F(JobEventsTest, KeptForFiveMinutesAfterTheLastWatch) {
  events_.Watch();
  events_.Watch();
  Record("a");
  clock_.Advance(absl::Hours(1));
  events_.Unwatch();
  events_.ForgetUnwatched();
  EXPECT_TRUE(events_.active()) << "one is left";
  clock_.Advance(absl::Hours(1));
  events_.Unwatch();
  Record("b");
  clock_.Advance(JobEvents::kKeptUnwatched - absl::Nanoseconds(1));
  events_.ForgetUnwatched();
  EXPECT_TRUE(events_.active());
  EXPECT_EQ(IdsAfter(events_, 0).size(), 2);
  clock_.Advance(absl::Nanoseconds(1));
  events_.ForgetUnwatched();
  EXPECT_FALSE(events_.active());
  EXPECT_TRUE(IdsAfter(events_, 0).empty());
}

TEST_F(JobEventsTest, AWatchWithinTheFiveMinutesKeepsIt) {
  events_.Watch();
  Record("a");
  events_.Unwatch();
  clock_.Advance(absl::Minutes(4));
  events_.Watch();
  clock_.Advance(absl::Minutes(4));
  events_.ForgetUnwatched();
  EXPECT_EQ(IdsAfter(events_, 0).size(), 1);
}

TEST_F(JobEventsTest, NobodyGoesOnAcrossATimeThatWasNotRecorded) {
  events_.Watch();
  Record("a");
  events_.Unwatch();
  clock_.Advance(JobEvents::kKeptUnwatched);
  events_.ForgetUnwatched();
  Record("missed");
  events_.Watch();
  EXPECT_FALSE(events_.IsKnownAfter(1));
  EXPECT_TRUE(events_.IsKnownAfter(events_.last()));
  const uint64_t before = events_.last();
  Record("b");
  EXPECT_EQ(IdsAfter(events_, before), std::vector<std::string>{"b"});
  EXPECT_FALSE(events_.IsKnownAfter(1));
}

TEST_F(JobEventsTest, WakesWhoWaits) {
  events_.Watch();
  Gate woken;
  std::thread waits([&] {
    EXPECT_TRUE(events_.AwaitAfter(0));
    EXPECT_TRUE(events_.AwaitAfter(0)) << "it is there";
    woken.Open();
    EXPECT_FALSE(events_.AwaitAfter(1));
  });
  Record("a");
  woken.Await();
  events_.Stop();
  waits.join();
}

TEST_F(JobEventsTest, EveryThreadsEventsAreInTheirOrderAndOnce) {
  constexpr int kThreads = 4;
  constexpr int kEach = 2'000;
  events_.set_max_events(kThreads * kEach);
  events_.Watch();
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (uint32_t i = 1; i <= kEach; ++i) {
        JobRecord record = MakeRecord(std::to_string(t));
        record.revision = i;
        events_.Record(JobEventType::kChanged, std::make_shared<const JobRecord>(std::move(record)));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  const std::vector<SharedJobEvent> all = events_.After(0, kThreads * kEach);
  ASSERT_EQ(all.size(), kThreads * kEach);
  std::vector<uint32_t> last(kThreads);
  for (size_t i = 0; i < all.size(); ++i) {
    ASSERT_EQ(all[i]->sequence, i + 1);
    ASSERT_EQ(all[i]->job->revision, ++last[static_cast<size_t>(std::stoi(all[i]->job->id))]);
  }
}

}  // namespace
}  // namespace jobpool
