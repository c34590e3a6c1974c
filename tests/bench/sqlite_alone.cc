#include "tests/bench/sqlite_alone.h"

#include <cstdio>
#include <cstdlib>
#include <functional>
#include <sqlite3.h>

#include "absl/strings/str_format.h"
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

/// SQL of which each takes the number of a row as ?1, and what `bind` binds for it.
struct Statements {
  const char* tables;
  const char* insert;
  const char* update;
};

void Run(const std::string& path, int rows, const Statements& sql,
         const std::function<void(SqliteStatement&, int row, bool update)>& bind) {
  SqliteConnection db = *SqliteConnection::Open(path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, "");
  Check(db.ReadText("PRAGMA journal_mode = WAL").status());
  Check(db.Execute("PRAGMA synchronous = FULL"));
  Check(db.Execute(sql.tables));
  SqliteStatement begin = *db.Prepare("BEGIN IMMEDIATE");
  SqliteStatement commit = *db.Prepare("COMMIT");
  SqliteStatement insert = *db.Prepare(sql.insert);
  SqliteStatement update = *db.Prepare(sql.update);
  const auto run = [&](SqliteStatement& statement, int batch) {
    Check(begin.Run());
    for (int i = batch * kBatch; i < (batch + 1) * kBatch; ++i) {
      statement.BindInt(1, int64_t{i} + 1);
      bind(statement, i, &statement == &update);
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

}  // namespace

void InsertAndUpdate(const std::string& path, int rows) {
  std::string value(100, 'x');
  Run(path, rows,
      {"CREATE TABLE rows(id INTEGER PRIMARY KEY, value BLOB)", "INSERT INTO rows VALUES(?1, ?2)",
       "UPDATE rows SET value = ?2 WHERE id = ?1"},
      [&](SqliteStatement& statement, int row, bool) {
        value[static_cast<size_t>(row) % value.size()]++;
        statement.BindBlob(2, value);
      });
}

void InsertAndUpdateJobs(const std::string& path, int jobs) {
  const std::string queued(60, 'q');
  const std::string ended(230, 'e');
  std::string id;
  Run(path, jobs,
      {R"sql(
  CREATE TABLE jobs(
    number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, state INTEGER NOT NULL, kind TEXT NOT NULL,
    create_time INTEGER NOT NULL, start_time INTEGER, end_time INTEGER, record BLOB NOT NULL);
  CREATE INDEX jobs_by_kind ON jobs(state, kind, create_time) WHERE end_time IS NOT NULL;
  CREATE INDEX jobs_by_start ON jobs(start_time) WHERE end_time IS NOT NULL;
  CREATE INDEX jobs_by_end ON jobs(end_time) WHERE end_time IS NOT NULL;
)sql",
       "INSERT INTO jobs VALUES(?1, ?2, 1, 'sleep', ?3, NULL, NULL, ?4)",
       "UPDATE jobs SET state = 3, start_time = ?3, end_time = ?3 + 2000000, record = ?4 WHERE number = ?1"},
      [&](SqliteStatement& statement, int row, bool update) {
        if (!update) {
          id = absl::StrFormat("01k%014dabcdefghi", row);
          statement.BindText(2, id);
        }
        statement.BindInt(3, int64_t{1'800'000'000'000'000'000} + 20'000 * int64_t{row});
        statement.BindBlob(4, update ? ended : queued);
      });
}

}  // namespace jobpool::bench
