// What the store in a file does beside what job_store_test.cc asks of every store, and
// sqlite_faults_test.cc of this one when the disk fails.

#include "server/store/sqlite_store.h"

#include <atomic>
#include <filesystem>
#include <fstream>
#include <gmock/gmock.h>
#include <memory>
#include <string>
#include <sys/stat.h>
#include <thread>
#include <unistd.h>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "server/store/record_codec.h"
#include "server/store/sqlite_backup.h"
#include "server/store/sqlite_db.h"
#include "server/store/sqlite_lister.h"
#include "server/store/sqlite_schema.h"
#include "tests/support/job_builder.h"
#include "tests/support/temp_dir.h"

namespace jobpool {
namespace {

using ::testing::HasSubstr;

class SqliteStoreTest : public ::testing::Test {
 protected:
  SqliteStoreTest() : path_(dir_.Path("jobs")) {}

  std::unique_ptr<SqliteStore> Open(const std::string& path) {
    auto store = SqliteStore::Open(path);
    EXPECT_TRUE(store.ok()) << store.status();
    return store.ok() ? *std::move(store) : nullptr;
  }
  std::unique_ptr<SqliteStore> Open() { return Open(path_); }

  absl::Status OpenError() { return SqliteStore::Open(path_).status(); }

  SqliteConnection Connect() {
    return *SqliteConnection::Open(path_, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, "");
  }

  const TempDir dir_;
  const std::string path_;
};

std::shared_ptr<const JobRecord> MakeLive(absl::string_view id) {
  return std::make_shared<const JobRecord>(MakeRecord(id, 1));
}

size_t CountEnded(const SqliteStore& store) { return store.List({.limit = 100'000})->jobs.size(); }

// There is no moment at which nobody reads, so SQLite alone would never begin its log anew.
TEST_F(SqliteStoreTest, TheLogStaysShortWhileListsFollowEachOther) {
  constexpr int64_t kCheckpointBytes = 64 << 10;
  const auto store = *SqliteStore::Open(path_, {.checkpoint_bytes = kCheckpointBytes});
  for (uint64_t i = 1; i <= 500; ++i) ASSERT_TRUE(store->Put(MakeEnded(absl::StrCat("e", i), i, 2)).ok());
  std::atomic<bool> done{false};
  std::vector<std::thread> readers;
  for (int i = 0; i < 3; ++i) {
    readers.emplace_back([&] {
      while (!done) ASSERT_TRUE(store->List({.limit = 500}).ok());
    });
  }
  int64_t longest = 0;
  for (uint64_t i = 501; i <= 2000; ++i) {
    ASSERT_TRUE(store->Put(MakeEnded(absl::StrCat("e", i), i, 2)).ok());
    longest = std::max(longest, store->Stats().wal_bytes);
  }
  done = true;
  for (std::thread& reader : readers) reader.join();
  EXPECT_LT(longest, 8 * kCheckpointBytes);
}

TEST_F(SqliteStoreTest, KeepsAllWhenItIsOpenedAgain) {
  const auto live = MakeLive("live");
  const auto ended = MakeEnded("ended", 2, 3);
  const auto gone = MakeEnded("gone", 4, 5);
  const RequestKey request{{1, 2}, {3, 4}};
  {
    const auto store = Open();
    ASSERT_TRUE(store->Commit({{{live, request}, {ended}, {gone}}}).ok());
    ASSERT_TRUE(*store->Delete("gone"));
    EXPECT_EQ(store->Stats().live_jobs, 1);
    EXPECT_EQ(store->Stats().ended_jobs, 1);
  }
  const auto store = Open();
  EXPECT_EQ((*store->Get("ended"))->number, ended->number);
  EXPECT_EQ(store->ListLive(0, 10)->at(0).number, live->number);
  const std::vector<MadeRequest> requests = *store->ListRequests(std::nullopt, 10);
  ASSERT_EQ(requests.size(), 1u);
  EXPECT_EQ(requests[0].key.id, request.id);
  EXPECT_EQ(requests[0].key.payload, request.payload);
  EXPECT_EQ(requests[0].job_id, "live");
  EXPECT_EQ(*store->LastNumber(), gone->number);
  EXPECT_EQ(store->Stats().live_jobs, 1);
  EXPECT_EQ(store->Stats().ended_jobs, 1);
  EXPECT_TRUE(store->CheckIntegrity().ok());
}

TEST_F(SqliteStoreTest, CountsRight) {
  const auto store = Open();
  const auto a = MakeLive("a");
  const auto b = MakeLive("b");
  const auto counts = [&] {
    const SqliteStats stats = store->Stats();
    return std::make_pair(stats.live_jobs, stats.ended_jobs);
  };
  ASSERT_TRUE(store->Commit({{{a}, {b}}}).ok());
  ASSERT_TRUE(store->Commit({{{a}}}).ok());  // again
  EXPECT_EQ(counts(), std::make_pair(int64_t{2}, int64_t{0}));
  JobRecord ended = *a;
  ended.End(JobState::kCancelled, {}, MakeOutcome(absl::FromUnixSeconds(2)));
  ASSERT_TRUE(store->Put(std::make_shared<const JobRecord>(ended)).ok());
  EXPECT_EQ(counts(), std::make_pair(int64_t{1}, int64_t{1}));
  EXPECT_GT(store->Stats().file_bytes, 0);
  EXPECT_GT(store->Stats().wal_bytes, 0);
  ASSERT_TRUE(*store->Delete("a"));
  EXPECT_EQ(counts(), std::make_pair(int64_t{1}, int64_t{0}));
}

TEST_F(SqliteStoreTest, ABatchThatWasKeptCanBeWrittenAgain) {
  const auto store = Open();
  std::vector<JobWrite> writes;
  for (int i = 0; i < 100; ++i) writes.push_back({MakeEnded(absl::StrCat("j", i), i, 200)});
  ASSERT_TRUE(store->Commit(writes).ok());
  writes.push_back({MakeEnded("new", 300, 400)});
  ASSERT_TRUE(store->Commit(writes).ok());
  EXPECT_EQ(CountEnded(*store), 101u);
  EXPECT_EQ(store->Stats().ended_jobs, 101);
  ASSERT_TRUE(*store->Delete("j7"));
  EXPECT_EQ(CountEnded(*store), 100u);
  EXPECT_TRUE(store->CheckIntegrity().ok());
}

TEST_F(SqliteStoreTest, AnIdThatAnotherJobHasIsRefusedWithTheWholeBatch) {
  const auto store = Open();
  ASSERT_TRUE(store->Put(MakeEnded("a", 1, 2)).ok());
  for (const size_t size : {2, 100}) {
    std::vector<JobWrite> writes = {{MakeLive("live")}};
    for (size_t i = 1; i < size; ++i) writes.push_back({MakeEnded(absl::StrCat("new", i), 1, 2)});
    writes.push_back({MakeEnded("a", 3, 4)});
    EXPECT_EQ(store->Commit(writes).code(), absl::StatusCode::kAlreadyExists);
    EXPECT_EQ(CountEnded(*store), 1u);
    EXPECT_TRUE(store->ListLive(0, 10)->empty());
    EXPECT_EQ(store->Stats().ended_jobs, 1);
  }
  ASSERT_TRUE(store->Put(MakeEnded("b", 1, 2)).ok());
  EXPECT_EQ(CountEnded(*store), 2u);
}

TEST_F(SqliteStoreTest, OneServerAtATimeUsesAFile) {
  auto first = Open();
  const absl::Status refused = OpenError();
  EXPECT_EQ(refused.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(refused.message(),
            absl::StrCat("the store ", path_, " is in use by another server (pid ", getpid(), ")"));
  first = nullptr;
  EXPECT_NE(Open(), nullptr);
}

TEST_F(SqliteStoreTest, OthersCannotReadIt) {
  const auto store = Open();
  ASSERT_TRUE(store->Put(MakeEnded("a", 1, 2)).ok());
  for (const char* suffix : {"", "-wal", "-shm", ".lock"}) {
    struct stat status {};
    ASSERT_EQ(stat((path_ + suffix).c_str(), &status), 0) << suffix;
    EXPECT_EQ(status.st_mode & 0777, 0600u) << suffix;
  }
}

TEST_F(SqliteStoreTest, RefusesAnotherApplicationsFileAndLeavesIt) {
  ASSERT_TRUE(Connect().Execute("CREATE TABLE t(x); PRAGMA application_id = 77").ok());
  const absl::Status refused = OpenError();
  EXPECT_EQ(refused.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(refused.message(), absl::StrCat("the store ", path_,
                                            ": it is a database of another application (application_id 77)"));
  EXPECT_EQ(*Connect().ReadText("PRAGMA journal_mode"), "delete");
}

TEST_F(SqliteStoreTest, RefusesANewerFormat) {
  Open();
  ASSERT_TRUE(Connect().Execute("PRAGMA user_version = 99").ok());
  const absl::Status refused = OpenError();
  EXPECT_EQ(refused.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(refused.message(),
              HasSubstr("it has version 99 of the format, this server knows versions up to 2"));
}

TEST_F(SqliteStoreTest, MigratesStepByStep) {
  Open();
  std::vector<const char*> steps(StoreMigrations().size(), "this is not run");
  const auto version = static_cast<int64_t>(steps.size()) + 2;
  steps.insert(steps.end(), {"CREATE TABLE two(x)", "CREATE TABLE three(x)"});
  {
    SqliteConnection db = Connect();
    ASSERT_TRUE(PrepareFile(db, steps).ok());
    EXPECT_EQ(*db.ReadInt("PRAGMA user_version"), version);
    EXPECT_EQ(*db.ReadInt("SELECT count(*) FROM sqlite_schema WHERE name IN ('two', 'three')"), 2);
  }
  // A step that fails leaves nothing of itself.
  std::vector<const char*> more = steps;
  more.push_back("CREATE TABLE four(x); SELECT * FROM nothing");
  SqliteConnection db = Connect();
  EXPECT_FALSE(PrepareFile(db, more).ok());
  EXPECT_FALSE(db.InTransaction());
  EXPECT_EQ(*db.ReadInt("PRAGMA user_version"), version);
  EXPECT_EQ(*db.ReadInt("SELECT count(*) FROM sqlite_schema WHERE name = 'four'"), 0);
}

// Of its jobs nothing knows which are daemons but they themselves.
TEST_F(SqliteStoreTest, FindsDaemonsInAFileOfVersion1) {
  const auto make_ended = [](absl::string_view id, int64_t number, bool daemon) {
    JobRecord job = MakeRecord(id, number);
    job.number = static_cast<uint64_t>(number);
    job.daemon = daemon;
    Outcome outcome;
    outcome.end_time = job.create_time + absl::Seconds(1);
    EXPECT_TRUE(job.End(JobState::kCancelled, {}, std::move(outcome)));
    return std::make_shared<const JobRecord>(std::move(job));
  };
  {
    const auto store = Open();
    const std::vector<JobWrite> jobs = {{make_ended("a", 1, true)}, {make_ended("b", 2, true)}};
    ASSERT_TRUE(store->Commit(jobs).ok());
  }
  ASSERT_TRUE(Connect().Execute("ALTER TABLE facets DROP COLUMN daemon; PRAGMA user_version = 1").ok());
  const auto store = Open();
  const std::vector<JobWrite> more = {{make_ended("c", 3, true)}, {make_ended("d", 4, false)}};
  ASSERT_TRUE(store->Commit(more).ok());
  ASSERT_TRUE(*store->Delete("b"));
  const auto ids = [&](absl::string_view filter) {
    JobQuery query;
    query.filter = *JobFilter::Parse(filter);
    query.limit = 10;
    const StoredPage page = *store->List(query);
    std::vector<std::string> found;
    for (const EndedJob& job : page.jobs) found.push_back(job->id);
    return found;
  };
  EXPECT_THAT(ids("daemon = true"), ::testing::ElementsAre("c", "a"));
  EXPECT_THAT(ids("daemon = false"), ::testing::ElementsAre("d"));
  EXPECT_THAT(ids(""), ::testing::ElementsAre("d", "c", "a"));
}

TEST_F(SqliteStoreTest, SaysThatAFileIsDamaged) {
  dir_.Write("jobs", std::string(10'000, 'x'));
  absl::Status damaged = OpenError();
  EXPECT_EQ(damaged.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(damaged.message(), HasSubstr(absl::StrCat("the store ", path_, ": the file is damaged")));
}

// After a server's end that was none in order, what it will read is looked at.
TEST_F(SqliteStoreTest, LooksForDamageAfterACrash) {
  {
    const auto store = Open();
    std::vector<JobWrite> writes;
    for (int i = 0; i < 2000; ++i) writes.push_back({MakeLive(absl::StrCat("j", i))});
    ASSERT_TRUE(store->Commit(writes).ok());
  }
  const auto crash = [&] { ASSERT_TRUE(Connect().Execute("DELETE FROM meta WHERE name = 'clean'").ok()); };
  crash();
  EXPECT_NE(Open(), nullptr);
  crash();
  // On a page of the live jobs, the places of some are overwritten: how many there are can still be counted.
  const int64_t page =
      **Connect().ReadInt("SELECT max(pageno) FROM dbstat WHERE name = 'live_jobs' AND pagetype = 'leaf'");
  {
    std::fstream file(path_, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp((page - 1) * 4096 + 20);
    file << std::string(20, 'x');
  }
  EXPECT_EQ(OpenError().code(), absl::StatusCode::kDataLoss);
}

// What a record says of its labels is not to be had, or is of another job.
TEST_F(SqliteStoreTest, DamagedRecordsExpireWithTheirLabels) {
  const auto labelled = [](absl::string_view id, const std::string& value, absl::Duration retention) {
    JobRecord job = *MakeEnded(id, 1, 2, retention);
    auto options = std::make_shared<JobOptions>(*job.options);
    options->labels = {{"k", value}, {"l", "w"}};
    job.options = std::move(options);
    return JobWrite{std::make_shared<const JobRecord>(std::move(job))};
  };
  const std::string count = "SELECT count(*) FROM labels";
  for (const absl::Duration retention : {absl::Hours(24), absl::Hours(1)}) {
    const JobWrite changed = labelled("changed", "e", retention);
    {
      const auto store = Open();
      const JobWrite writes[] = {labelled("bytes", "a", retention), labelled("other", "b", retention),
                                 labelled("well", "c", retention), changed};
      ASSERT_TRUE(store->Commit(writes).ok());
    }
    JobRecord changed_record = *changed.job;
    auto options = std::make_shared<JobOptions>(*changed_record.options);
    options->labels[0].second = "f";
    changed_record.options = std::move(options);
    std::string bytes;
    RecordEncoder().Append(changed_record, bytes);
    ASSERT_TRUE(
        Connect()
            .Execute("UPDATE ended_jobs SET record = x'ff' WHERE id = 'bytes';"
                     "UPDATE ended_jobs SET record = (SELECT record FROM ended_jobs WHERE id = 'well') "
                     "WHERE id = 'other'")
            .ok());
    ASSERT_TRUE(Connect()
                    .Execute(absl::StrCat("UPDATE ended_jobs SET record = x'", absl::BytesToHexString(bytes),
                                          "' WHERE id = 'changed'"))
                    .ok());
    const auto store = Open();
    ASSERT_TRUE(store->Put(labelled("kept", "d", absl::Hours(48)).job).ok());
    EXPECT_EQ(store->Get("bytes").status().code(), absl::StatusCode::kDataLoss);
    const absl::StatusOr<size_t> deleted =
        store->DeleteExpired(absl::FromUnixSeconds(2) + absl::Hours(24), 1000);
    ASSERT_TRUE(deleted.ok()) << deleted.status();
    EXPECT_EQ(*deleted, 4u);
    EXPECT_EQ(store->Stats().ended_jobs, 1);
    EXPECT_EQ(*Connect().ReadInt(count), 2);  // of the one that is kept
    ASSERT_TRUE(*store->Delete("kept"));
    EXPECT_EQ(*Connect().ReadInt(count), 0);
  }
}

class SqliteStoreDamageTest : public SqliteStoreTest {
 protected:
  // A store whose jobs hold so much together, with a leaf of an index that is overwritten.
  void MakeDamaged(int64_t bytes) {
    {
      const auto store = Open();
      std::vector<JobWrite> writes;
      for (int i = 0; i < 1000; ++i) {
        JobRecord job = *MakeEnded(absl::StrCat("j", i), i, 2000);
        job.work = NoopWork{std::make_shared<const std::string>(bytes / 1000, 'x')};
        writes.push_back({std::make_shared<const JobRecord>(std::move(job))});
      }
      ASSERT_TRUE(store->Commit(writes).ok());
    }
    const int64_t page = **Connect().ReadInt(
        "SELECT max(pageno) FROM dbstat WHERE name = 'ended_by_end' AND pagetype = 'leaf'");
    std::fstream file(path_, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp((page - 1) * 4096 + 20);
    file << std::string(20, 'x');
  }
};

TEST_F(SqliteStoreDamageTest, ASmallFileIsCheckedWhenItIsOpened) {
  MakeDamaged(1 << 20);
  const absl::Status refused = OpenError();
  EXPECT_EQ(refused.code(), absl::StatusCode::kDataLoss);
  EXPECT_TRUE(
      absl::StartsWith(refused.message(), absl::StrCat("the store ", path_, ": the file is damaged: ")))
      << refused;
  EXPECT_TRUE(absl::EndsWith(refused.message(), "; restore a backup"));
  EXPECT_FALSE(absl::StrContains(refused.message(), "\n"));
}

TEST_F(SqliteStoreDamageTest, ALargeFileIsCheckedWhenThatIsAskedFor) {
  MakeDamaged(20 << 20);
  const auto store = Open();
  ASSERT_NE(store, nullptr);
  EXPECT_FALSE(store->checked());
  EXPECT_NE(*store->Get("j1"), nullptr);
  EXPECT_FALSE(store->damaged());
  EXPECT_EQ(store->CheckIntegrity().code(), absl::StatusCode::kDataLoss);
  EXPECT_TRUE(store->damaged());
}

// What an interrupted check has found is not taken for damage.
TEST_F(SqliteStoreDamageTest, AChecksEndIsNoDamage) {
  MakeDamaged(20 << 20);
  const auto store = Open();
  ASSERT_NE(store, nullptr);
  std::thread check([&] { (void)store->CheckIntegrity(); });
  store->EndChecks();
  check.join();
  EXPECT_EQ(store->CheckIntegrity().code(), absl::StatusCode::kCancelled);
}

TEST_F(SqliteStoreTest, ASmallFileNeedsNoOtherCheck) {
  const auto store = Open();
  EXPECT_TRUE(store->checked());
  EXPECT_FALSE(store->damaged());
}

TEST_F(SqliteStoreTest, BacksUpWhileOthersWrite) {
  const auto store = Open();
  std::atomic<bool> stop{false};
  std::atomic<int> batches{0};
  std::thread writer([&] {
    for (int batch = 0; !stop; ++batch) {
      std::vector<JobWrite> writes;
      for (int i = 0; i < 50; ++i) {
        writes.push_back({MakeEnded(absl::StrCat("b", batch, "-", i), batch, 1'000'000)});
      }
      EXPECT_TRUE(store->Commit(writes).ok());
      ++batches;
    }
  });
  while (batches < 20) std::this_thread::yield();
  const size_t before = CountEnded(*store);
  const std::string to = dir_.Path("backup");
  const absl::Status backed_up = BackUpSqlite(path_, to).status();
  EXPECT_TRUE(backed_up.ok()) << backed_up;
  stop = true;
  writer.join();
  const size_t after = CountEnded(*store);
  EXPECT_EQ(BackUpSqlite(path_, to).status().code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(dir_.Path("")), {}),
            5);  // and the store's four

  const auto copy = Open(to);
  ASSERT_NE(copy, nullptr);
  EXPECT_TRUE(copy->CheckIntegrity().ok());
  const size_t copied = CountEnded(*copy);
  EXPECT_GE(copied, before);
  EXPECT_LE(copied, after);
  EXPECT_EQ(copied % 50, 0u);  // whole batches
}

TEST_F(SqliteStoreTest, GivesBackWhatIsFree) {
  const auto store = Open();
  const auto payload = std::make_shared<const std::string>(size_t{1} << 20, 'x');
  std::vector<JobWrite> writes;
  for (int i = 0; i < 100; ++i) {
    JobRecord job = *MakeEnded(absl::StrCat("j", i), 1, 2);
    job.work = NoopWork{payload};
    writes.push_back({std::make_shared<const JobRecord>(std::move(job))});
  }
  ASSERT_TRUE(store->Commit(writes).ok());
  const int64_t full = store->Stats().file_bytes;
  EXPECT_GT(full, 100 << 20);
  ASSERT_TRUE(store->GiveBackSpace().ok());
  EXPECT_EQ(store->Stats().file_bytes, full);  // none is free
  EXPECT_EQ(*store->DeleteExpired(absl::InfiniteFuture(), 1000), 100u);
  EXPECT_EQ(store->Stats().file_bytes, full);  // it is kept for what comes
  EXPECT_GT(store->Stats().free_bytes, 100 << 20);
  ASSERT_TRUE(store->GiveBackSpace().ok());
  // Which pages are free is told by pages that are not needed then.
  EXPECT_NEAR(static_cast<double>(full - store->Stats().file_bytes), 256 << 10, 16 << 10);
  for (int i = 0; i < 200; ++i) ASSERT_TRUE(store->GiveBackSpace().ok());
  EXPECT_LE(store->Stats().free_bytes, 64 << 20);
  EXPECT_GT(store->Stats().free_bytes, 63 << 20);
  EXPECT_TRUE(store->CheckIntegrity().ok());
}

// Pages end early rather than hold very much.
TEST_F(SqliteStoreTest, APageOfLargeJobsIsShort) {
  const auto store = Open();
  const auto payload = std::make_shared<const std::string>(size_t{1} << 20, 'x');
  for (int i = 0; i < 20; ++i) {
    JobRecord job = *MakeEnded(absl::StrCat("j", i), i, 100);
    job.work = NoopWork{payload};
    ASSERT_TRUE(store->Put(std::make_shared<const JobRecord>(std::move(job))).ok());
  }
  for (const char* order : {"", "end_time"}) {
    JobQuery query;
    query.order = *JobOrder::Parse(order);
    size_t jobs = 0;
    int pages = 0;
    for (; pages < 20; ++pages) {
      const StoredPage page = *store->List(query);
      EXPECT_LE(page.jobs.size(), 8u);
      jobs += page.jobs.size();
      if (!page.looked_up_to.has_value()) break;
      query.after = page.looked_up_to;
    }
    EXPECT_EQ(jobs, 20u) << order;
    EXPECT_LT(pages, 5);
  }
}

// Each list reads a part of one index, in its order, and no more.
TEST_F(SqliteStoreTest, PlansAreThoseThatAreMeant) {
  Open();
  SqliteConnection db = Connect();
  std::vector<std::string> plans;
  for (const std::string& sql : SqliteLister::Statements()) {
    SqliteStatement explained = *db.Prepare(absl::StrCat("EXPLAIN QUERY PLAN ", sql));
    std::string plan;
    while (*explained.Step()) absl::StrAppend(&plan, plan.empty() ? "" : "; ", explained.Bytes(3));
    plans.push_back(plan);
  }
  const std::string by_age = "(create_time,id)>(?,?) AND (create_time,id)<(?,?))";
  const auto by_time = [](absl::string_view name, absl::string_view time) {
    return absl::StrCat("SEARCH ended_jobs USING COVERING INDEX ", name, " ((", time,
                        ",create_time,id)>(?,?,?) AND (", time, ",create_time,id)<(?,?,?))");
  };
  std::vector<std::string> expected = {"SCAN facets",
                                       "SEARCH ended_jobs USING INTEGER PRIMARY KEY (rowid=?)"};
  for (const std::string& plan :
       {absl::StrCat("SEARCH ended_jobs USING COVERING INDEX ended_by_facet (facet=? AND ", by_age),
        absl::StrCat("SEARCH labels USING PRIMARY KEY (key=? AND value=? AND ", by_age),
        absl::StrCat("SEARCH ended_jobs USING COVERING INDEX ended_by_name (display_name=? AND ", by_age),
        by_time("ended_by_start", "start_time"), by_time("ended_by_end", "end_time"),
        by_time("ended_by_schedule", "schedule_time"), by_time("ended_by_deadline", "deadline_time"),
        std::string("SEARCH labels USING PRIMARY KEY (key=?)"),
        std::string(
            "SEARCH ended_jobs USING COVERING INDEX ended_by_name (display_name>? AND display_name<?)")}) {
    expected.insert(expected.end(), 2, plan);  // forwards and back
  }
  EXPECT_EQ(plans, expected);
}

}  // namespace
}  // namespace jobpool
