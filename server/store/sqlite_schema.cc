#include "server/store/sqlite_schema.h"

#include "absl/strings/str_cat.h"
#include "server/base/status_macros.h"

namespace jobpool {
namespace {

// Times are nanoseconds since 1970. Numbers, times and the ids that the server makes grow: nearly all that is
// written comes to the right edge of each tree. An ended job's columns are what it is found by; all of it is
// in its record. Every index costs each job: start_time and end_time are there for each that ran, the others
// for those few that have the value.
constexpr char kVersion1[] = R"sql(
  CREATE TABLE meta(name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;

  CREATE TABLE live_jobs(number INTEGER PRIMARY KEY, record BLOB NOT NULL);

  -- What ended jobs share, and how many do.
  CREATE TABLE facets(
    facet INTEGER PRIMARY KEY,
    state INTEGER NOT NULL,     -- as jobpool.store.v1.JobRecord.State
    kind TEXT NOT NULL,
    priority INTEGER NOT NULL,
    pool TEXT NOT NULL,
    jobs INTEGER NOT NULL);

  CREATE TABLE ended_jobs(
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL,
    facet INTEGER NOT NULL,
    create_time INTEGER NOT NULL,
    end_time INTEGER NOT NULL,
    start_time INTEGER,
    expire_time INTEGER,        -- NULL: 24 hours after end_time, as of most
    schedule_time INTEGER,
    deadline_time INTEGER,
    display_name TEXT,
    labels INTEGER,             -- how many; NULL: none
    record BLOB NOT NULL);
  CREATE UNIQUE INDEX ended_by_id ON ended_jobs(id);
  CREATE INDEX ended_by_facet ON ended_jobs(facet, create_time, id);
  CREATE INDEX ended_by_end ON ended_jobs(end_time, create_time, id);
  CREATE INDEX ended_by_start ON ended_jobs(start_time, create_time, id) WHERE start_time IS NOT NULL;
  CREATE INDEX ended_by_expiry ON ended_jobs(expire_time) WHERE expire_time IS NOT NULL;
  CREATE INDEX ended_by_schedule ON ended_jobs(schedule_time, create_time, id) WHERE schedule_time IS NOT NULL;
  CREATE INDEX ended_by_deadline ON ended_jobs(deadline_time, create_time, id) WHERE deadline_time IS NOT NULL;
  CREATE INDEX ended_by_name ON ended_jobs(display_name, create_time, id) WHERE display_name IS NOT NULL;

  CREATE TABLE labels(
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    create_time INTEGER NOT NULL,
    id TEXT NOT NULL,
    number INTEGER NOT NULL,
    PRIMARY KEY(key, value, create_time, id)) WITHOUT ROWID;

  CREATE TABLE requests(
    id BLOB PRIMARY KEY,
    payload BLOB NOT NULL,
    job_id TEXT NOT NULL,
    expire_time INTEGER NOT NULL) WITHOUT ROWID;
  CREATE INDEX requests_by_expiry ON requests(expire_time);
)sql";

// So that to ask for daemons, which are few, is not to look at all jobs.
constexpr char kVersion2[] = R"sql(
  ALTER TABLE facets ADD COLUMN daemon INTEGER;  -- whether they are; NULL: of version 1, some are
)sql";

constexpr const char* kMigrations[] = {kVersion1, kVersion2};

absl::Status Step(SqliteConnection& db, const char* sql, size_t version) {
  JOBPOOL_RETURN_IF_ERROR(db.Execute("BEGIN IMMEDIATE"));
  absl::Status status = db.Execute(absl::StrCat(sql, "; PRAGMA application_id = ", kStoreApplicationId,
                                                "; PRAGMA user_version = ", version, "; COMMIT"));
  if (!status.ok() && db.InTransaction()) (void)db.Execute("ROLLBACK");
  return status;
}

}  // namespace

absl::Span<const char* const> StoreMigrations() { return kMigrations; }

absl::Status PrepareFile(SqliteConnection& db, absl::Span<const char* const> migrations) {
  JOBPOOL_ASSIGN_OR_RETURN(const std::optional<int64_t> application, db.ReadInt("PRAGMA application_id"));
  JOBPOOL_ASSIGN_OR_RETURN(const std::optional<int64_t> version, db.ReadInt("PRAGMA user_version"));
  JOBPOOL_ASSIGN_OR_RETURN(const std::optional<int64_t> tables,
                           db.ReadInt("SELECT count(*) FROM sqlite_schema"));
  const bool is_new = application == 0 && version == 0 && tables == 0;
  if (!is_new && application != kStoreApplicationId) {
    return absl::FailedPreconditionError(
        absl::StrCat("it is a database of another application (application_id ", *application, ")"));
  }
  if (*version < 0 || *version > static_cast<int64_t>(migrations.size())) {
    return absl::FailedPreconditionError(absl::StrCat("it has version ", *version,
                                                      " of the format, this server knows versions up to ",
                                                      migrations.size(), ": a newer server has written it"));
  }
  if (is_new) {
    JOBPOOL_RETURN_IF_ERROR(db.Execute("PRAGMA page_size = 4096; PRAGMA auto_vacuum = INCREMENTAL"));
  }
  JOBPOOL_ASSIGN_OR_RETURN(const std::optional<std::string> mode, db.ReadText("PRAGMA journal_mode = WAL"));
  if (mode != "wal") {
    return absl::UnavailableError("its file system has no shared memory, which a write-ahead log needs");
  }
  for (size_t next = static_cast<size_t>(*version); next < migrations.size(); ++next) {
    JOBPOOL_RETURN_IF_ERROR(Step(db, migrations[next], next + 1));
  }
  return absl::OkStatus();
}

}  // namespace jobpool
