#include "tests/bench/sqlite_alone.h"

#include <cstdio>
#include <cstdlib>
#include <sqlite3.h>

#include "server/store/sqlite_db.h"

namespace jobpool::bench {
namespace {

constexpr int kBatch = 1000;
// A row is updated when so many other batches have come: jobs live for a while.
constexpr int kBatchesBetween = 4;

void Check(const absl::Status& status) {
  if (status.ok()) return;
  std::fprintf(stderr, "%s\n", std::string(status.message()).c_str());
  std::exit(1);
}

}  // namespace

void InsertAndUpdate(const std::string& path, int rows) {
  SqliteConnection db = *SqliteConnection::Open(path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, "");
  Check(db.ReadText("PRAGMA journal_mode = WAL").status());
  Check(db.Execute("PRAGMA synchronous = FULL; CREATE TABLE rows(id INTEGER PRIMARY KEY, value BLOB)"));
  SqliteStatement begin = *db.Prepare("BEGIN IMMEDIATE");
  SqliteStatement commit = *db.Prepare("COMMIT");
  SqliteStatement insert = *db.Prepare("INSERT INTO rows VALUES(?1, ?2)");
  SqliteStatement update = *db.Prepare("UPDATE rows SET value = ?2 WHERE id = ?1");
  std::string value(100, 'x');
  const auto run = [&](SqliteStatement& statement, int batch) {
    Check(begin.Run());
    for (int i = batch * kBatch; i < (batch + 1) * kBatch; ++i) {
      value[static_cast<size_t>(i) % value.size()]++;
      statement.BindInt(1, int64_t{i} + 1);
      statement.BindBlob(2, value);
      Check(statement.Run());
    }
    Check(commit.Run());
  };
  const int batches = rows / kBatch;
  for (int batch = 0; batch < batches + kBatchesBetween; ++batch) {
    if (batch < batches) run(insert, batch);
    if (batch >= kBatchesBetween) run(update, batch - kBatchesBetween);
  }
}

}  // namespace jobpool::bench
