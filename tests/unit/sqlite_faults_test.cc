// What a store's file holds when the disk fails, at each call in turn.

#include <filesystem>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "server/store/sqlite_store.h"
#include "tests/support/faulty_vfs.h"
#include "tests/support/job_builder.h"
#include "tests/support/temp_dir.h"

namespace jobpool {
namespace {

enum class Kept { kNot, kLive, kEnded };

std::shared_ptr<const JobRecord> Live(uint64_t number) {
  JobRecord job = MakeRecord(absl::StrCat("j", number), static_cast<int64_t>(number));
  job.number = number;
  // Over several pages, so that a write is more than one call.
  job.work = NoopWork{std::make_shared<const std::string>(number % 5 == 0 ? 20'000 : 100, 'x')};
  JobOptions options;
  options.labels = {{"n", absl::StrCat(number % 3)}};
  job.options = std::make_shared<const JobOptions>(std::move(options));
  return std::make_shared<const JobRecord>(std::move(job));
}

std::shared_ptr<const JobRecord> Ended(uint64_t number, absl::Duration retention = absl::Hours(1)) {
  JobRecord job = *Live(number);
  auto options = std::make_shared<JobOptions>(*job.options);
  options->retention = retention;
  job.options = std::move(options);
  job.End(JobState::kCancelled, {}, MakeOutcome(absl::FromUnixSeconds(1000)));
  return std::make_shared<const JobRecord>(std::move(job));
}

// What calls of a store have said, and so what may be in it.
class Script {
 public:
  explicit Script(JobStore& store) : store_(store) {}

  void Run() {
    for (uint64_t first = 1; first < 18; first += 6) {
      std::vector<JobWrite> made;
      for (uint64_t number = first; number < first + 6; ++number) made.push_back({Live(number)});
      made[0].request = RequestKey{{first, 1}, {2, 3}};
      Commit(made);
      Commit({{Ended(first), std::nullopt},
              {Ended(first + 1), std::nullopt},
              {Ended(first + 5, absl::Minutes(1)), std::nullopt}});
      Commit({{Ended(first + 2), std::nullopt}});
      Delete(first + 1);
      // The sixth has expired.
      const auto expired = store_.DeleteExpired(absl::FromUnixSeconds(1100), 10);
      Forgotten(first + 5, Call(expired.status()), expired.ok() && *expired > 0);
    }
  }

  int failures() const { return failures_; }

  // Whether this can be what the calls have left.
  void ExpectFits(const JobStore& store) const {
    std::map<uint64_t, Kept> kept;
    const auto live = store.ListLive(0, 1000);
    ASSERT_TRUE(live.ok()) << live.status();
    for (const JobRecord& job : *live) kept[job.number] = Kept::kLive;
    const auto page = store.List({.limit = 1000});
    ASSERT_TRUE(page.ok()) << page.status();
    for (const EndedJob& job : page->jobs) {
      EXPECT_EQ(kept.count(job->number), 0u) << "both live and ended";
      kept[job->number] = Kept::kEnded;
      const auto got = store.Get(job->id);
      ASSERT_TRUE(got.ok() && *got != nullptr);
    }
    const auto kept_as = [&](uint64_t number) {
      const auto found = kept.find(number);
      return found == kept.end() ? Kept::kNot : found->second;
    };
    for (const auto& [number, can_be] : can_be_) {
      EXPECT_TRUE(can_be.count(kept_as(number)) > 0)
          << "job " << number << " is kept as " << static_cast<int>(kept_as(number));
    }
    for (const auto& change : failed_) {
      size_t done = 0;
      size_t counted = 0;
      for (const auto& [number, to] : change) {
        if (last_change_.at(number) != &change) continue;  // a later one hides it
        ++counted;
        done += kept_as(number) == to ? 1 : 0;
      }
      EXPECT_TRUE(done == 0 || done == counted) << "half of a batch: " << done << " of " << counted;
    }
    // Labels are found as the jobs are.
    size_t labelled = 0;
    for (const char* value : {"0", "1", "2"}) {
      const auto found =
          store.List({.filter = *JobFilter::Parse(absl::StrCat("labels.n = ", value)), .limit = 1000});
      ASSERT_TRUE(found.ok()) << found.status();
      labelled += found->jobs.size();
    }
    EXPECT_EQ(labelled, page->jobs.size());
  }

 private:
  using Changes = std::vector<std::pair<uint64_t, Kept>>;

  bool Call(const absl::Status& status) {
    if (status.ok()) return true;
    ++failures_;
    EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << status;
    return false;
  }

  void Commit(const std::vector<JobWrite>& writes) {
    const bool done = Call(store_.Commit(writes));
    Changes changes;
    for (const JobWrite& write : writes) {
      changes.emplace_back(write.job->number, IsEnded(write.job->state) ? Kept::kEnded : Kept::kLive);
    }
    Change(changes, done);
  }

  void Delete(uint64_t number) {
    const auto deleted = store_.Delete(absl::StrCat("j", number));
    Forgotten(number, Call(deleted.status()), deleted.ok() && *deleted);
  }

  // That it was not kept is said of this moment: a batch that has failed may be there at the next start.
  void Forgotten(uint64_t number, bool done, bool was_kept) {
    if (!done || was_kept) Change({{number, Kept::kNot}}, done);
  }

  void Change(const Changes& changes, bool done) {
    if (!done) failed_.push_back(changes);
    for (const auto& [number, to] : changes) {
      auto& can_be = can_be_.try_emplace(number, std::set<Kept>{Kept::kNot}).first->second;
      if (done) can_be.clear();
      can_be.insert(to);
      last_change_[number] = done ? nullptr : &failed_.back();
    }
  }

  JobStore& store_;
  int failures_ = 0;
  std::map<uint64_t, std::set<Kept>> can_be_;
  std::list<Changes> failed_;
  std::map<uint64_t, const Changes*> last_change_;
};

class SqliteFaultsTest : public ::testing::TestWithParam<std::pair<int, FaultyVfs::How>> {
 protected:
  static SqliteOptions Options() {
    SqliteOptions options;
    options.vfs = FaultyVfs::Name();
    options.checkpoint_bytes = 50'000;  // several times in the script
    return options;
  }

  FaultyVfs vfs_;
};

TEST_P(SqliteFaultsTest, WhatWasToldIsKeptAndBatchesAreWhole) {
  const auto [code, how] = GetParam();
  int64_t calls = 0;
  {
    const TempDir dir;
    vfs_.Heal();
    const auto store = SqliteStore::Open(dir.Path("jobs"), Options());
    ASSERT_TRUE(store.ok()) << store.status();
    Script(**store).Run();
    calls = vfs_.calls();
  }
  ASSERT_GT(calls, 150);
  int64_t opened = 0;
  int64_t failed = 0;
  for (int64_t call = 0; call < calls; ++call) {
    SCOPED_TRACE(absl::StrCat("call ", call));
    const TempDir dir;
    vfs_.FailAt(call, code, how);
    auto store = SqliteStore::Open(dir.Path("jobs"), Options());
    if (!store.ok()) {
      EXPECT_EQ(store.status().code(), absl::StatusCode::kUnavailable) << store.status();
      vfs_.Heal();
      const auto again = SqliteStore::Open(dir.Path("jobs"), Options());
      EXPECT_TRUE(again.ok()) << again.status();
      continue;
    }
    ++opened;
    Script script(**store);
    script.Run();
    failed += script.failures();
    EXPECT_LE(script.failures(), how == FaultyVfs::How::kOnce ? 1 : 1000);
    vfs_.Heal();
    // As if the server was killed here: another looks at what the files are now.
    const TempDir copy;
    for (const char* name : {"jobs", "jobs-wal"}) {
      std::error_code error;
      std::filesystem::copy_file(dir.Path(name), copy.Path(name), error);
    }
    const auto killed = SqliteStore::Open(copy.Path("jobs"), Options());
    ASSERT_TRUE(killed.ok()) << killed.status();
    script.ExpectFits(**killed);
    EXPECT_TRUE((*killed)->CheckIntegrity().ok()) << (*killed)->CheckIntegrity();
    // This one goes on.
    const absl::Status goes_on = (*store)->Commit({{{Live(1000)}, {Ended(1001)}}});
    EXPECT_TRUE(goes_on.ok()) << goes_on;
    *store = nullptr;
    const auto again = SqliteStore::Open(dir.Path("jobs"), Options());
    ASSERT_TRUE(again.ok()) << again.status();
    EXPECT_TRUE(*(*again)->Get("j1001") != nullptr);
    ASSERT_TRUE(*(*again)->Delete("j1001"));
    script.ExpectFits(**again);
    EXPECT_TRUE((*again)->CheckIntegrity().ok()) << (*again)->CheckIntegrity();
    if (HasFailure()) return;
  }
  EXPECT_GT(opened, calls / 2);
  EXPECT_GT(failed, opened / 3);
}

INSTANTIATE_TEST_SUITE_P(Faults, SqliteFaultsTest,
                         ::testing::Values(std::pair(SQLITE_FULL, FaultyVfs::How::kOnce),
                                           std::pair(SQLITE_FULL, FaultyVfs::How::kFromThenOn),
                                           std::pair(SQLITE_IOERR, FaultyVfs::How::kOnce),
                                           std::pair(SQLITE_IOERR, FaultyVfs::How::kFromThenOn)),
                         [](const auto& each) {
                           return absl::StrCat(
                               each.param.first == SQLITE_FULL ? "Full" : "Error",
                               each.param.second == FaultyVfs::How::kOnce ? "Once" : "FromThenOn");
                         });

TEST(SqliteFaultsMessageTest, SaysWhatIsWrong) {
  FaultyVfs vfs;
  const TempDir dir;
  SqliteOptions options;
  options.vfs = FaultyVfs::Name();
  const auto store = SqliteStore::Open(dir.Path("jobs"), options);
  ASSERT_TRUE(store.ok()) << store.status();
  vfs.FailAt(0, SQLITE_FULL, FaultyVfs::How::kOnce);
  EXPECT_EQ((*store)->Commit({{{Live(1)}}}).message(),
            "disk is full: database or disk is full (SQLite's error 13)");
  vfs.FailAt(0, SQLITE_IOERR, FaultyVfs::How::kOnce);
  EXPECT_EQ((*store)->Commit({{{Live(1)}}}).message(),
            "input or output failed: disk I/O error (SQLite's error 778)");
  EXPECT_TRUE((*store)->ListLive(0, 10)->empty());
  EXPECT_EQ((*store)->Stats().live_jobs, 0);
}

}  // namespace
}  // namespace jobpool
