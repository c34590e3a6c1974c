#include "server/job/resource_name.h"

#include <limits>

#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"

namespace jobpool {
namespace {

TEST(ResourceIdTest, TakesWhatThePatternTakes) {
  for (const std::string& id : {std::string("a"), std::string("z9"), std::string("a-b"), std::string("a--b"),
                                std::string("j0123456789abcd"), std::string(63, 'a')}) {
    EXPECT_TRUE(IsResourceId(id)) << id;
  }
}

TEST(ResourceIdTest, RefusesWhatItDoesNot) {
  for (const std::string& id :
       {std::string(), std::string("A"), std::string("1"), std::string("-a"), std::string("a-"),
        std::string("a_b"), std::string("a.b"), std::string("a b"), std::string("aB"), std::string("a/b"),
        std::string("\xc3\xa4"), std::string("a\xc3\xa4"), std::string("a\0b", 3), std::string("a\n"),
        std::string(64, 'a'), std::string(62, 'a') + "-b", std::string(62, 'a') + "--"}) {
    EXPECT_FALSE(IsResourceId(id)) << id;
  }
}

TEST(ResourceNameTest, GoesThereAndBack) {
  for (const std::string& id : {std::string("a"), std::string("a-9"), std::string(63, 'z')}) {
    EXPECT_EQ(JobName(id), "jobs/" + id);
    EXPECT_EQ(PoolName(id), "pools/" + id);
    EXPECT_EQ(ParseJobName(JobName(id)), id);
    EXPECT_EQ(ParsePoolName(PoolName(id)), id);
  }
  for (const uint64_t id : {uint64_t{1}, uint64_t{10}, std::numeric_limits<uint64_t>::max()}) {
    EXPECT_EQ(ThreadName(id), absl::StrCat("threads/", id));
    EXPECT_EQ(ParseThreadName(ThreadName(id)), id);
  }
}

TEST(ResourceNameTest, RefusesMalformedOnes) {
  for (const char* name : {"", "jobs", "jobs/", "job/a", "Jobs/a", "/jobs/a", "jobs/a/", "jobs/a/b",
                           "jobs//a", "jobs/A", "jobs/a ", " jobs/a", "pools/a", "projects/p/jobs/a", "a"}) {
    EXPECT_EQ(ParseJobName(name), std::nullopt) << name;
  }
  for (const char* name : {"", "pools/", "pool/a", "jobs/a", "pools/-", "pools/a\n"}) {
    EXPECT_EQ(ParsePoolName(name), std::nullopt) << name;
  }
  for (const char* name :
       {"", "threads/", "thread/1", "threads/-1/", "threads/+1", "threads/ 1", "threads/1 ", "threads/1/2",
        "threads/A", "Threads/1", "jobs/1", "threads/\xc3\xa4"}) {
    EXPECT_EQ(ParseThreadName(name), std::nullopt) << name;
  }
  EXPECT_EQ(ParseThreadName("threads/" + std::string(64, '1')), std::nullopt);
}

// Ids are opaque: a name that we would not make names no thread, but is one.
TEST(ResourceNameTest, ReadsNoThreadFromAnIdThatIsNotOurs) {
  for (const char* name : {"threads/0", "threads/01", "threads/00", "threads/t1", "threads/abc", "threads/-1",
                           "threads/18446744073709551616", "threads/99999999999999999999", "threads/0x1"}) {
    EXPECT_EQ(ParseThreadName(name), kNoThread) << name;
  }
}

}  // namespace
}  // namespace jobpool
