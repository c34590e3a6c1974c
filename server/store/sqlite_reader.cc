#include "server/store/sqlite_reader.h"

#include <algorithm>
#include <limits>

#include "absl/strings/str_cat.h"
#include "server/base/status_macros.h"
#include "server/store/sqlite_keys.h"

namespace jobpool {

absl::StatusOr<std::unique_ptr<SqliteReader>> SqliteReader::Open(const std::string& path,
                                                                 const SqliteOptions& options) {
  JOBPOOL_ASSIGN_OR_RETURN(SqliteConnection db,
                           SqliteConnection::Open(path, SQLITE_OPEN_READWRITE, options.vfs));
  sqlite3_busy_timeout(db.get(), 5000);
  JOBPOOL_RETURN_IF_ERROR(
      db.Execute(absl::StrCat("PRAGMA query_only = ON; PRAGMA temp_store = MEMORY; PRAGMA cache_size = -",
                              options.reader_cache_bytes >> 10)));
  std::unique_ptr<SqliteReader> reader(new SqliteReader(std::move(db)));
  JOBPOOL_RETURN_IF_ERROR(reader->Prepare());
  return reader;
}

absl::Status SqliteReader::Prepare() {
  const std::pair<SqliteStatement*, const char*> statements[] = {
      {&begin_, "BEGIN"},
      {&end_, "ROLLBACK"},
      {&get_, "SELECT record FROM ended_jobs INDEXED BY ended_by_id WHERE id = ?1"},
      {&live_, "SELECT record FROM live_jobs WHERE number > ?1 ORDER BY number LIMIT ?2"},
      {&requests_,
       "SELECT id, payload, job_id, expire_time FROM requests WHERE id > ?1 ORDER BY id LIMIT ?2"},
  };
  for (const auto& [statement, sql] : statements) {
    JOBPOOL_ASSIGN_OR_RETURN(*statement, db_.Prepare(sql));
  }
  return absl::OkStatus();
}

absl::StatusOr<EndedJob> SqliteReader::Get(const std::string& id) {
  const SqliteScope scope(get_);
  get_.BindText(1, id);
  JOBPOOL_ASSIGN_OR_RETURN(const bool row, get_.Step());
  if (!row) return nullptr;
  JOBPOOL_ASSIGN_OR_RETURN(JobRecord job, decoder_.Decode(get_.Bytes(0)));
  return std::make_shared<const JobRecord>(std::move(job));
}

absl::StatusOr<StoredPage> SqliteReader::List(const JobQuery& query) {
  JOBPOOL_RETURN_IF_ERROR(begin_.Run());
  absl::StatusOr<StoredPage> page = lister_.List(query);
  const absl::Status ended = end_.Run();
  if (page.ok() && !ended.ok()) return ended;
  return page;
}

absl::StatusOr<std::vector<JobRecord>> SqliteReader::ListLive(uint64_t after, size_t limit) {
  std::vector<JobRecord> jobs;
  constexpr uint64_t kLast = std::numeric_limits<int64_t>::max();
  const SqliteScope scope(live_);
  live_.BindInt(1, static_cast<int64_t>(std::min(after, kLast)));
  live_.BindInt(2, static_cast<int64_t>(std::min<uint64_t>(limit, kLast)));
  for (;;) {
    JOBPOOL_ASSIGN_OR_RETURN(const bool row, live_.Step());
    if (!row) return jobs;
    JOBPOOL_ASSIGN_OR_RETURN(JobRecord job, decoder_.Decode(live_.Bytes(0)));
    jobs.push_back(std::move(job));
  }
}

absl::StatusOr<std::vector<MadeRequest>> SqliteReader::ListRequests(const std::optional<RequestId>& after,
                                                                    size_t limit) {
  std::vector<MadeRequest> requests;
  // None is before the empty key.
  const std::string key = after.has_value() ? PackKey(after->high, after->low) : "";
  const SqliteScope scope(requests_);
  requests_.BindBlob(1, key);
  requests_.BindInt(2, static_cast<int64_t>(limit));
  for (;;) {
    JOBPOOL_ASSIGN_OR_RETURN(const bool row, requests_.Step());
    if (!row) return requests;
    const auto id = UnpackKey(requests_.Bytes(0));
    const auto payload = UnpackKey(requests_.Bytes(1));
    if (!id.has_value() || !payload.has_value())
      return absl::DataLossError("the table of requests is damaged");
    requests.push_back({{{id->first, id->second}, {payload->first, payload->second}},
                        std::string(requests_.Bytes(2)),
                        absl::FromUnixNanos(requests_.Int(3))});
  }
}

}  // namespace jobpool
