// What the memory store does beside what job_store_test.cc asks of every store:
// it has a bound.

#include "server/store/memory_store.h"

#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/support/job_builder.h"

namespace jobpool {
namespace {

std::vector<std::string> Ids(const MemoryStore& store) {
  std::vector<std::string> ids;
  const std::vector<EndedJob> jobs = store.List({.limit = 100})->jobs;
  for (const EndedJob& job : jobs) ids.push_back(job->id);
  return ids;
}

using Strings = std::vector<std::string>;

TEST(MemoryStoreTest, ForgetsThoseFirstThatExpireFirst) {
  MemoryStore store(2);
  ASSERT_TRUE(store.Put(MakeEnded("long", 1, 10, absl::Hours(9))).ok());
  ASSERT_TRUE(store.Put(MakeEnded("short", 2, 11, absl::Hours(1))).ok());
  ASSERT_TRUE(store.Put(MakeEnded("middle", 3, 12, absl::Hours(2))).ok());
  EXPECT_EQ(Ids(store), (Strings{"middle", "long"}));
  EXPECT_EQ(*store.Get("short"), nullptr);
  EXPECT_FALSE(*store.Delete("short"));
}

TEST(MemoryStoreTest, MayForgetTheNewOneAtOnce) {
  MemoryStore store(1);
  ASSERT_TRUE(store.Put(MakeEnded("long", 1, 10, absl::Hours(9))).ok());
  ASSERT_TRUE(store.Put(MakeEnded("short", 2, 11, absl::Hours(1))).ok());
  EXPECT_EQ(Ids(store), Strings{"long"});
  MemoryStore none(0);
  ASSERT_TRUE(none.Put(MakeEnded("a", 1, 10)).ok());
  EXPECT_TRUE(Ids(none).empty());
}

TEST(MemoryStoreTest, HasRoomAgainAfterADelete) {
  MemoryStore store(2);
  ASSERT_TRUE(store.Put(MakeEnded("a", 1, 10)).ok());
  ASSERT_TRUE(store.Put(MakeEnded("b", 2, 10)).ok());
  EXPECT_TRUE(*store.Delete("a"));
  ASSERT_TRUE(store.Put(MakeEnded("c", 3, 10)).ok());
  EXPECT_EQ(Ids(store), (Strings{"c", "b"}));
}

TEST(MemoryStoreTest, HasABoundOfBytesToo) {
  const auto with_payload = [](absl::string_view id, size_t bytes, int64_t ended) {
    JobRecord record = MakeRecord(id, ended);
    record.work = NoopWork{std::make_shared<const std::string>(bytes, 'x')};
    record.End(JobState::kCancelled, {}, MakeOutcome(absl::FromUnixSeconds(ended)));
    return std::make_shared<const JobRecord>(std::move(record));
  };
  MemoryStore store(100, 100'000);
  for (const int64_t ended : {1, 2, 3, 4}) {
    ASSERT_TRUE(store.Put(with_payload("j" + std::to_string(ended), 24'000, ended)).ok());
  }
  EXPECT_EQ(Ids(store), (Strings{"j4", "j3", "j2", "j1"}));
  ASSERT_TRUE(store.Put(with_payload("j5", 60'000, 5)).ok());
  EXPECT_EQ(Ids(store), (Strings{"j5", "j4"}));
  EXPECT_TRUE(*store.Delete("j5"));
  ASSERT_TRUE(store.Put(with_payload("j6", 60'000, 6)).ok());
  EXPECT_EQ(Ids(store), (Strings{"j6", "j4"}));
  ASSERT_TRUE(store.Put(with_payload("too large", 100'001, 7)).ok());
  EXPECT_TRUE(Ids(store).empty());
}

TEST(MemoryStoreTest, LetsGoOfWhatItForgets) {
  MemoryStore store(1);
  const EndedJob a = MakeEnded("a", 1, 10);
  const EndedJob b = MakeEnded("b", 1, 11);
  ASSERT_TRUE(store.Put(a).ok());
  ASSERT_TRUE(store.Put(b).ok());
  EXPECT_EQ(a.use_count(), 1);
  EXPECT_EQ(*store.DeleteExpired(absl::InfiniteFuture(), 10), 1u);
  EXPECT_EQ(b.use_count(), 1);
}

}  // namespace
}  // namespace jobpool
