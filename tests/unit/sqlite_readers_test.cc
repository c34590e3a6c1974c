#include "server/store/sqlite_readers.h"

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "server/store/sqlite_store.h"
#include "tests/support/eventually.h"
#include "tests/support/job_builder.h"
#include "tests/support/temp_dir.h"
#include "tests/support/watchdog.h"

namespace jobpool {
namespace {

using Use = SqliteReaders::Use;

class SqliteReadersTest : public ::testing::Test {
 protected:
  SqliteReadersTest() : store_(*SqliteStore::Open(dir_.Path("jobs"))) {}

  const TempDir dir_;
  const std::unique_ptr<SqliteStore> store_;
  SqliteReaders readers_{dir_.Path("jobs"), {.readers = 3}};
};

TEST_F(SqliteReadersTest, OneIsForThoseWhoAskForOneJob) {
  std::vector<std::unique_ptr<SqliteReader>> lists;
  for (int i = 0; i < 2; ++i) lists.push_back(*readers_.Take(Use::kList));
  Gate begun;
  std::atomic<bool> has_third{false};
  std::thread third([&] {
    begun.Open();
    std::unique_ptr<SqliteReader> reader = *readers_.Take(Use::kList);
    has_third = true;
    readers_.Give(std::move(reader), Use::kList);
  });
  ASSERT_TRUE(begun.Await());
  // Whenever the third list comes, it takes none: this would hang.
  ASSERT_TRUE(store_->Put(MakeEnded("a", 1, 2)).ok());
  for (int i = 0; i < 10'000; ++i) {
    std::unique_ptr<SqliteReader> reader = *readers_.Take(Use::kOneJob);
    ASSERT_NE(*reader->Get("a"), nullptr);
    readers_.Give(std::move(reader), Use::kOneJob);
    ASSERT_FALSE(has_third);
  }
  readers_.Give(std::move(lists.back()), Use::kList);
  third.join();
  readers_.Give(std::move(lists.front()), Use::kList);
}

TEST_F(SqliteReadersTest, ALostOneIsReplaced) {
  for (int i = 0; i < 10; ++i) {
    for (const Use use : {Use::kList, Use::kOneJob}) {
      ASSERT_TRUE(readers_.Take(use).ok());  // and closed
      readers_.Give(nullptr, use);
    }
  }
}

}  // namespace
}  // namespace jobpool
