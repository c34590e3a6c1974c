#include "server/store/sqlite_backup.h"

#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <sys/stat.h>
#include <unistd.h>
#include <vector>

#include <gtest/gtest.h>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "server/store/sqlite_db.h"
#include "server/store/sqlite_store.h"
#include "tests/support/faulty_vfs.h"
#include "tests/support/job_builder.h"
#include "tests/support/temp_dir.h"

namespace jobpool {
namespace {

class SqliteBackupTest : public ::testing::Test {
 protected:
  SqliteBackupTest() { std::filesystem::create_directory(dir_.Path("out")); }

  std::unique_ptr<SqliteStore> Open() {
    auto store = SqliteStore::Open(path_);
    EXPECT_TRUE(store.ok()) << store.status();
    return store.ok() ? *std::move(store) : nullptr;
  }

  // Three live jobs and 500 that have ended.
  void Fill(SqliteStore& store) {
    std::vector<JobWrite> writes;
    for (int i = 0; i < 503; ++i) {
      const std::string id = absl::StrCat("j", i);
      writes.push_back(
          {i < 3 ? std::make_shared<const JobRecord>(MakeRecord(id, i)) : MakeEnded(id, i, 1000)});
    }
    ASSERT_TRUE(store.Commit(writes).ok());
  }

  absl::StatusOr<SqliteBackup> BackUp(const std::string& vfs = "") { return BackUpSqlite(path_, to_, vfs); }

  size_t FilesLeft() const {
    const std::filesystem::directory_iterator files(dir_.Path("out"));
    return static_cast<size_t>(std::distance(begin(files), end(files)));
  }

  const TempDir dir_;
  const std::string path_ = dir_.Path("jobs.db");
  const std::string to_ = dir_.Path("out/a %20 #1?.backup");
};

TEST_F(SqliteBackupTest, TakesThePlaceOfTheFile) {
  {
    const auto store = Open();
    Fill(*store);
    const auto backup = BackUp();
    ASSERT_TRUE(backup.ok()) << backup.status();
    EXPECT_EQ(backup->live_jobs, 3);
    EXPECT_EQ(backup->ended_jobs, 500);
    EXPECT_EQ(backup->bytes, static_cast<int64_t>(std::filesystem::file_size(to_)));
    EXPECT_EQ(FilesLeft(), 1u);
    struct stat status {};
    ASSERT_EQ(stat(to_.c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777, 0600u);
    ASSERT_TRUE(*store->Delete("j500"));
  }
  std::filesystem::rename(to_, path_);
  const auto restored = Open();
  ASSERT_NE(restored, nullptr);
  EXPECT_NE(*restored->Get("j500"), nullptr);
  EXPECT_EQ(restored->ListLive(0, 10)->size(), 3u);
}

TEST_F(SqliteBackupTest, LeavesAStoreThatNobodyUsesAsItIs) {
  Fill(*Open());
  const auto read = [&] {
    std::ifstream file(path_, std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(file), {});
  };
  const std::string before = read();
  ASSERT_TRUE(BackUp().ok());
  EXPECT_TRUE(read() == before);
  EXPECT_NE(Open(), nullptr);
}

// What a server's end has left in the log is in the copy.
TEST_F(SqliteBackupTest, TakesTheLogOfAServerThatIsGone) {
  {
    const auto store = Open();
    Fill(*store);
    for (const char* suffix : {"", "-wal"}) {
      std::filesystem::copy(path_ + suffix, dir_.Path("out") + "/killed.db" + suffix);
    }
  }
  const auto backup = BackUpSqlite(dir_.Path("out/killed.db"), to_);
  ASSERT_TRUE(backup.ok()) << backup.status();
  EXPECT_EQ(backup->ended_jobs, 500);
  EXPECT_GT(std::filesystem::file_size(dir_.Path("out/killed.db-wal")),
            0u);  // it is left for the next server
}

TEST_F(SqliteBackupTest, WhatItNeedsBesideTheStoreBelongsToItsOwner) {
  if (geteuid() != 0) GTEST_SKIP() << "only root can run this";
  Fill(*Open());
  constexpr uid_t kOwner = 12'345;
  ASSERT_EQ(chown(path_.c_str(), kOwner, kOwner), 0);
  ASSERT_TRUE(BackUp().ok());
  for (const char* suffix : {"", "-wal", "-shm"}) {
    struct stat status {};
    if (stat((path_ + suffix).c_str(), &status) != 0) continue;
    EXPECT_EQ(status.st_uid, kOwner) << suffix;
    EXPECT_EQ(status.st_gid, kOwner) << suffix;
    EXPECT_EQ(status.st_mode & 0777, 0600u) << suffix;
  }
}

TEST_F(SqliteBackupTest, RefusesBeforeItBegins) {
  absl::Status refused = BackUp().status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(refused.message(), absl::StrCat("there is no file ", path_));
  ASSERT_TRUE((*SqliteConnection::Open(path_, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, ""))
                  .Execute("CREATE TABLE meta(x)")
                  .ok());
  refused = BackUp().status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kFailedPrecondition) << refused;
  std::filesystem::remove(path_);
  Fill(*Open());
  dir_.Write("out/there", "something");
  refused = BackUpSqlite(path_, dir_.Path("out/there")).status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(refused.message(), absl::StrCat("there is a file ", dir_.Path("out/there")));
  EXPECT_EQ(std::filesystem::file_size(dir_.Path("out/there")), 9u);
  EXPECT_EQ(FilesLeft(), 1u);
}

TEST_F(SqliteBackupTest, ADamagedStoreIsNotTakenForABackup) {
  Fill(*Open());
  const auto page =
      (*SqliteConnection::Open(path_, SQLITE_OPEN_READWRITE, ""))
          .ReadInt("SELECT max(pageno) FROM dbstat WHERE name = 'ended_by_end' AND pagetype = 'leaf'");
  {
    std::fstream file(path_, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp((**page - 1) * 4096 + 20);
    file << std::string(20, 'x');
  }
  const absl::Status refused = BackUp().status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kDataLoss);
  EXPECT_TRUE(absl::StartsWith(refused.message(), "the file is damaged: ")) << refused;
  EXPECT_FALSE(absl::StrContains(refused.message(), "\n"));
  EXPECT_EQ(FilesLeft(), 0u);
}

TEST_F(SqliteBackupTest, EndsWhenItIsTold) {
  Fill(*Open());
  for (const int at : {0, 1}) {  // while it copies, and behind that
    int asked = 0;
    EXPECT_EQ(BackUpSqlite(path_, to_, "", [&] { return asked++ == at; }).status().code(),
              absl::StatusCode::kCancelled);
    EXPECT_EQ(FilesLeft(), 0u);
  }
}

// Whichever call fails: there is a whole copy, or none.
TEST_F(SqliteBackupTest, AFullDiskLeavesNothing) {
  const auto store = Open();
  Fill(*store);
  FaultyVfs vfs;
  int64_t failed = 0;
  for (int64_t call = 0;; ++call) {
    vfs.FailAt(call, SQLITE_FULL, FaultyVfs::How::kFromThenOn);
    const absl::StatusOr<SqliteBackup> backup = BackUp(FaultyVfs::Name());
    if (backup.ok()) break;
    ASSERT_LT(++failed, 10'000);
    EXPECT_EQ(backup.status().code(), absl::StatusCode::kUnavailable) << backup.status();
    ASSERT_EQ(FilesLeft(), 0u);
  }
  EXPECT_GT(failed, 10);
  vfs.Heal();
  EXPECT_EQ(FilesLeft(), 1u);
  EXPECT_TRUE(store->CheckIntegrity().ok());
}

}  // namespace
}  // namespace jobpool
