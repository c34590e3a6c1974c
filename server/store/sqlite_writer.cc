#include "server/store/sqlite_writer.h"

#include <algorithm>
#include <limits>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/base/status_macros.h"
#include "server/query/job_order.h"
#include "server/store/sqlite_keys.h"
#include "server/store/sqlite_schema.h"

namespace jobpool {
namespace {

// Others than us write, or take over the log, for a moment at most.
constexpr int kBusyTimeoutMs = 5000;

// Jobs that are kept longer than most stand in the way of those that have expired; it goes on behind them the
// next time.
constexpr size_t kMaxPassedOver = 10'000;

// Where so many jobs are written, one statement takes them: SQLite opens the table and all indexes once.
// FAIL: what comes of a conflict is undone with the transaction, and the statement need not remember how it
// was before.
constexpr size_t kRowsAtOnce = 32;
constexpr char kInsertLive[] = "INSERT OR FAIL INTO live_jobs(number, record) VALUES";
constexpr int kLiveColumns = 2;
constexpr char kInsertEnded[] =
    "INSERT OR FAIL INTO ended_jobs(number, id, facet, create_time, end_time, start_time, expire_time, "
    "schedule_time, deadline_time, display_name, labels, record) VALUES";
constexpr int kEndedColumns = 12;

std::string Insert(absl::string_view into, int columns, size_t rows) {
  const std::string row = absl::StrCat(
      "(", absl::StrJoin(std::vector<absl::string_view>(static_cast<size_t>(columns), "?"), ", "), ")");
  return absl::StrCat(into, absl::StrJoin(std::vector<std::string>(rows, row), ", "));
}

std::optional<int64_t> FieldNanos(JobField field, const JobRecord& job) {
  const std::optional<absl::Time> time = TimeOf(field, job);
  if (!time.has_value()) return std::nullopt;
  return NanosOf(*time);
}

}  // namespace

SqliteBatch::SqliteBatch(absl::Span<const JobWrite> writes) : writes_(writes) {
  std::vector<std::pair<uint64_t, size_t>> order;
  order.reserve(writes.size());
  for (size_t i = 0; i < writes.size(); ++i) {
    order.emplace_back(writes[i].job->number, i);
    has_requests_ = has_requests_ || writes[i].request.has_value();
  }
  if (!std::is_sorted(order.begin(), order.end())) std::sort(order.begin(), order.end());
  RecordEncoder encoder;
  std::vector<size_t> ends;
  jobs_.reserve(order.size());
  ends.reserve(order.size());
  for (size_t i = 0; i < order.size(); ++i) {
    if (i + 1 < order.size() && order[i].first == order[i + 1].first) continue;
    const JobRecord& job = *writes[order[i].second].job;
    encoder.Append(job, bytes_);
    jobs_.push_back({&job, {}});
    ends.push_back(bytes_.size());
  }
  size_t begin = 0;
  for (size_t i = 0; i < jobs_.size(); ++i) {
    jobs_[i].record = absl::string_view(bytes_).substr(begin, ends[i] - begin);
    begin = ends[i];
  }
}

absl::StatusOr<std::unique_ptr<SqliteWriter>> SqliteWriter::Open(const std::string& path,
                                                                 const SqliteOptions& options) {
  JOBPOOL_ASSIGN_OR_RETURN(
      SqliteConnection db,
      SqliteConnection::Open(path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, options.vfs));
  sqlite3_busy_timeout(db.get(), kBusyTimeoutMs);
  db.SetKeepsLog(true);
  JOBPOOL_RETURN_IF_ERROR(PrepareFile(db));
  JOBPOOL_ASSIGN_OR_RETURN(const std::optional<int64_t> page_bytes, db.ReadInt("PRAGMA page_size"));
  // With FULL the log is synchronized at each commit.
  JOBPOOL_RETURN_IF_ERROR(db.Execute(absl::StrCat(
      "PRAGMA synchronous = FULL; PRAGMA foreign_keys = OFF; PRAGMA secure_delete = OFF; PRAGMA temp_store = "
      "MEMORY; PRAGMA cache_size = -",
      options.writer_cache_bytes >> 10,
      "; PRAGMA wal_autocheckpoint = ", std::max<int64_t>(1, options.checkpoint_bytes / *page_bytes),
      "; PRAGMA journal_size_limit = ", 2 * options.checkpoint_bytes)));
  std::unique_ptr<SqliteWriter> writer(new SqliteWriter(std::move(db)));
  writer->page_bytes_ = *page_bytes;
  JOBPOOL_RETURN_IF_ERROR(writer->Prepare());
  JOBPOOL_RETURN_IF_ERROR(writer->ReadCounts());
  JOBPOOL_RETURN_IF_ERROR(writer->ReadFacets());
  return writer;
}

absl::Status SqliteWriter::Prepare() {
  const std::pair<SqliteStatement*, const char*> statements[] = {
      {&begin_, "BEGIN IMMEDIATE"},
      {&commit_, "COMMIT"},
      {&rollback_, "ROLLBACK"},
      {&pages_, "PRAGMA page_count"},
      {&free_pages_, "PRAGMA freelist_count"},
      {&give_back_, "PRAGMA incremental_vacuum"},
      {&upsert_live_,
       "INSERT INTO live_jobs(number, record) VALUES(?1, ?2) ON CONFLICT(number) DO UPDATE SET record = "
       "excluded.record"},
      {&delete_live_, "DELETE FROM live_jobs WHERE number BETWEEN ?1 AND ?2"},
      {&insert_ended_,
       "INSERT INTO ended_jobs(number, id, facet, create_time, end_time, start_time, expire_time, "
       "schedule_time, "
       "deadline_time, display_name, labels, record) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, "
       "?12)"},
      {&delete_ended_, "DELETE FROM ended_jobs WHERE number = ?1"},
      {&insert_label_, "INSERT INTO labels(key, value, create_time, id, number) VALUES(?1, ?2, ?3, ?4, ?5)"},
      {&delete_label_, "DELETE FROM labels WHERE key = ?1 AND value = ?2 AND create_time = ?3 AND id = ?4"},
      {&labels_, "SELECT key, value, create_time, id, number FROM labels"},
      {&find_, "SELECT number, facet, labels FROM ended_jobs INDEXED BY ended_by_id WHERE id = ?1"},
      {&find_number_, "SELECT number, facet, labels FROM ended_jobs WHERE number = ?1"},
      {&record_, "SELECT record FROM ended_jobs WHERE number = ?1"},
      {&insert_facet_,
       "INSERT INTO facets(facet, state, kind, priority, pool, jobs, daemon) VALUES(?1, ?2, ?3, ?4, ?5, 0, "
       "?6)"},
      {&count_facet_, "UPDATE facets SET jobs = jobs + ?2 WHERE facet = ?1"},
      {&put_meta_, "INSERT OR REPLACE INTO meta(name, value) VALUES(?1, ?2)"},
      {&put_request_,
       "INSERT OR REPLACE INTO requests(id, payload, job_id, expire_time) VALUES(?1, ?2, ?3, ?4)"},
      {&expired_requests_,
       "SELECT id FROM requests INDEXED BY requests_by_expiry WHERE expire_time <= ?1 LIMIT ?2"},
      {&delete_request_, "DELETE FROM requests WHERE id = ?1"},
      {&expired_,
       "SELECT number, facet, labels FROM ended_jobs INDEXED BY ended_by_expiry WHERE expire_time <= ?1 "
       "ORDER BY "
       "expire_time LIMIT ?2"},
      {&expired_common_,
       "SELECT number, facet, labels, expire_time, end_time, create_time, id FROM ended_jobs INDEXED BY "
       "ended_by_end WHERE end_time <= ?1 AND (end_time, create_time, id) > (?2, ?3, ?4) ORDER BY end_time, "
       "create_time, id"},
  };
  for (const auto& [statement, sql] : statements) {
    JOBPOOL_ASSIGN_OR_RETURN(*statement, db_.Prepare(sql));
  }
  const std::pair<SqliteStatement*, std::string> inserts[] = {
      {&insert_live_, Insert(kInsertLive, kLiveColumns, 1)},
      {&insert_many_live_, Insert(kInsertLive, kLiveColumns, kRowsAtOnce)},
      {&insert_ended_, Insert(kInsertEnded, kEndedColumns, 1)},
      {&insert_many_ended_, Insert(kInsertEnded, kEndedColumns, kRowsAtOnce)},
  };
  for (const auto& [statement, sql] : inserts) {
    JOBPOOL_ASSIGN_OR_RETURN(*statement, db_.Prepare(sql));
  }
  expired_up_to_ = {std::numeric_limits<int64_t>::min(), 0, ""};
  return absl::OkStatus();
}

absl::Status SqliteWriter::ReadCounts() {
  JOBPOOL_ASSIGN_OR_RETURN(const std::optional<int64_t> live, db_.ReadInt("SELECT count(*) FROM live_jobs"));
  JOBPOOL_ASSIGN_OR_RETURN(const std::optional<int64_t> ended, db_.ReadInt("SELECT sum(jobs) FROM facets"));
  JOBPOOL_ASSIGN_OR_RETURN(const std::optional<int64_t> last_live,
                           db_.ReadInt("SELECT max(number) FROM live_jobs"));
  JOBPOOL_ASSIGN_OR_RETURN(const std::optional<int64_t> last_ended,
                           db_.ReadInt("SELECT max(number) FROM ended_jobs"));
  JOBPOOL_ASSIGN_OR_RETURN(const std::optional<int64_t> last_deleted,
                           db_.ReadInt("SELECT value FROM meta WHERE name = 'last_number'"));
  written_last_number_ = static_cast<uint64_t>(last_deleted.value_or(0));
  const int64_t last = std::max({last_live.value_or(0), last_ended.value_or(0), last_deleted.value_or(0)});
  counts_.live_jobs = live.value_or(0);
  counts_.ended_jobs = ended.value_or(0);
  counts_.last_number = static_cast<uint64_t>(last);
  return ReadSpace(counts_);
}

absl::Status SqliteWriter::ReadSpace(StoreCounts& counts) {
  for (const auto& [statement, bytes] :
       {std::make_pair(&pages_, &counts.file_bytes), std::make_pair(&free_pages_, &counts.free_bytes)}) {
    const SqliteScope scope(*statement);
    JOBPOOL_RETURN_IF_ERROR(statement->Step().status());
    *bytes = statement->Int(0) * page_bytes_;
  }
  return absl::OkStatus();
}

absl::Status SqliteWriter::ReadFacets() {
  facets_.clear();
  JOBPOOL_ASSIGN_OR_RETURN(SqliteStatement rows,
                           db_.Prepare("SELECT facet, state, kind, priority, pool, daemon FROM facets"));
  for (;;) {
    JOBPOOL_ASSIGN_OR_RETURN(const bool row, rows.Step());
    if (!row) return absl::OkStatus();
    const std::optional<Kind> kind = FindKind(rows.Bytes(2));
    if (!kind.has_value()) return absl::DataLossError("the table of facets is damaged");
    const std::optional<bool> daemon = rows.IsNull(5) ? std::nullopt : std::make_optional(rows.Int(5) != 0);
    facets_[{static_cast<JobState>(rows.Int(1) - 1), *kind, static_cast<int>(rows.Int(3)), daemon,
             std::string(rows.Bytes(4))}] = rows.Int(0);
  }
}

template <typename Fn>
absl::Status SqliteWriter::InTransaction(Fn fn) {
  next_ = counts_;
  deleted_number_ = 0;
  facet_changes_.clear();
  absl::Status status = begin_.Run();
  if (status.ok()) status = fn();
  if (status.ok()) status = WriteCounts();
  if (status.ok()) status = ReadSpace(next_);
  if (status.ok()) status = commit_.Run();
  if (!status.ok()) {
    RollBack();
    return status;
  }
  made_facets_ = false;
  counts_ = next_;
  written_last_number_ = std::max(written_last_number_, deleted_number_);
  return absl::OkStatus();
}

// Some errors have rolled back already.
void SqliteWriter::RollBack() {
  if (db_.InTransaction()) (void)rollback_.Run();
  if (db_.InTransaction()) usable_ = false;
  if (!made_facets_) return;
  made_facets_ = false;
  if (!ReadFacets().ok()) usable_ = false;
}

// A job is hardly ever written again after it has ended: whether one was is asked for when SQLite refuses.
absl::Status SqliteWriter::Commit(const SqliteBatch& batch) {
  const auto write = [&](size_t at_once) {
    return InTransaction([&] {
      const absl::Status status = WriteJobs(batch, at_once);
      return status.ok() && batch.has_requests() ? WriteRequests(batch) : status;
    });
  };
  conflict_ = false;
  const absl::Status status = write(kRowsAtOnce);
  return conflict_ ? write(1) : status;
}

absl::Status SqliteWriter::WriteJobs(const SqliteBatch& batch, size_t at_once) {
  if (next_.live_jobs > 0) JOBPOOL_RETURN_IF_ERROR(DeleteLive(batch));
  absl::Span<const SqliteBatch::Job> jobs = batch.jobs();
  while (!jobs.empty()) {
    size_t alike = 1;
    while (alike < std::min(jobs.size(), at_once) &&
           IsEnded(jobs[alike].job->state) == IsEnded(jobs[0].job->state)) {
      ++alike;
    }
    if (alike < kRowsAtOnce) alike = 1;
    const absl::Span<const SqliteBatch::Job> written = jobs.subspan(0, alike);
    JOBPOOL_RETURN_IF_ERROR(IsEnded(jobs[0].job->state) ? WriteEnded(written) : WriteLive(written));
    next_.last_number = std::max(next_.last_number, written.back().job->number);
    jobs.remove_prefix(alike);
  }
  return absl::OkStatus();
}

// Jobs that end together have often been made together: what is deleted at once is a run of numbers.
absl::Status SqliteWriter::DeleteLive(const SqliteBatch& batch) {
  const std::vector<SqliteBatch::Job>& jobs = batch.jobs();
  for (size_t i = 0; i < jobs.size();) {
    if (!IsEnded(jobs[i].job->state)) {
      ++i;
      continue;
    }
    const uint64_t first = jobs[i].job->number;
    uint64_t last = first;
    for (++i; i < jobs.size() && jobs[i].job->number == last + 1 && IsEnded(jobs[i].job->state); ++i) ++last;
    delete_live_.BindInt(1, static_cast<int64_t>(first));
    delete_live_.BindInt(2, static_cast<int64_t>(last));
    JOBPOOL_RETURN_IF_ERROR(delete_live_.Run());
    next_.live_jobs -= sqlite3_changes64(db_.get());
  }
  return absl::OkStatus();
}

absl::Status SqliteWriter::WriteLive(absl::Span<const SqliteBatch::Job> jobs) {
  const bool is_new = jobs[0].job->number > next_.last_number;
  if (is_new && jobs.size() == kRowsAtOnce) {
    int index = 1;
    for (const SqliteBatch::Job& write : jobs) {
      insert_many_live_.BindInt(index++, static_cast<int64_t>(write.job->number));
      insert_many_live_.BindBlob(index++, write.record);
    }
    next_.live_jobs += static_cast<int64_t>(jobs.size());
    return insert_many_live_.Run();
  }
  for (const SqliteBatch::Job& write : jobs) {
    SqliteStatement& statement = is_new ? insert_live_ : upsert_live_;
    // An update does not set it.
    if (!is_new) sqlite3_set_last_insert_rowid(db_.get(), 0);
    statement.BindInt(1, static_cast<int64_t>(write.job->number));
    statement.BindBlob(2, write.record);
    JOBPOOL_RETURN_IF_ERROR(statement.Run());
    if (sqlite3_last_insert_rowid(db_.get()) != 0) ++next_.live_jobs;
  }
  return absl::OkStatus();
}

absl::Status SqliteWriter::WriteEnded(absl::Span<const SqliteBatch::Job> jobs) {
  const bool many = jobs.size() == kRowsAtOnce;
  SqliteStatement& insert = many ? insert_many_ended_ : insert_ended_;
  int index = 1;
  for (const SqliteBatch::Job& write : jobs) {
    JOBPOOL_ASSIGN_OR_RETURN(const int64_t facet, FacetOf(*write.job));
    BindEnded(insert, index, write, facet);
    index += kEndedColumns;
    CountFacet(facet, 1);
    ++next_.ended_jobs;
  }
  int code = insert.StepCode();
  insert.Reset();
  if (code == SQLITE_CONSTRAINT_ROWID || code == SQLITE_CONSTRAINT_PRIMARYKEY) {
    // It is written again: the first time it was kept, but its answer was an error.
    if (!conflict_) {
      conflict_ = true;
      return SqliteError(db_.get(), code);
    }
    JOBPOOL_RETURN_IF_ERROR(DeleteKept(static_cast<int64_t>(jobs[0].job->number)));
    code = insert.StepCode();
    insert.Reset();
  }
  if (code == SQLITE_CONSTRAINT_UNIQUE) {
    return absl::AlreadyExistsError(
        absl::StrCat("the store has another job of the id ", many ? "of one in a batch" : jobs[0].job->id));
  }
  if (code != SQLITE_DONE) return SqliteError(db_.get(), code);
  for (const SqliteBatch::Job& write : jobs) {
    if (!write.job->Options().labels.empty()) JOBPOOL_RETURN_IF_ERROR(WriteLabels(*write.job));
  }
  return absl::OkStatus();
}

void SqliteWriter::BindEnded(SqliteStatement& insert, int index, const SqliteBatch::Job& write,
                             int64_t facet) {
  const JobRecord& job = *write.job;
  const JobOptions& options = job.Options();
  const int64_t end_time = NanosOf(job.outcome->end_time);
  insert.BindInt(index++, static_cast<int64_t>(job.number));
  insert.BindText(index++, job.id);
  insert.BindInt(index++, facet);
  insert.BindInt(index++, NanosOf(job.create_time));
  insert.BindInt(index++, end_time);
  insert.BindInt(index++, FieldNanos(JobField::kStartTime, job));
  if (options.retention == kCommonRetention) {
    insert.BindNull(index++);
    if (end_time <= expired_up_to_.end_time) {
      expired_up_to_ = {end_time, std::numeric_limits<int64_t>::min(), ""};
    }
  } else {
    insert.BindInt(index++, NanosOf(job.ExpireTime()));
  }
  insert.BindInt(index++, FieldNanos(JobField::kScheduleTime, job));
  insert.BindInt(index++, FieldNanos(JobField::kDeadlineTime, job));
  if (options.display_name.empty()) {
    insert.BindNull(index++);
  } else {
    insert.BindText(index++, options.display_name);
  }
  if (options.labels.empty()) {
    insert.BindNull(index++);
  } else {
    insert.BindInt(index++, static_cast<int64_t>(options.labels.size()));
  }
  insert.BindBlob(index, write.record);
}

absl::Status SqliteWriter::WriteLabels(const JobRecord& job) {
  for (const auto& [key, value] : job.Options().labels) {
    insert_label_.BindText(1, key);
    insert_label_.BindText(2, value);
    insert_label_.BindInt(3, NanosOf(job.create_time));
    insert_label_.BindText(4, job.id);
    insert_label_.BindInt(5, static_cast<int64_t>(job.number));
    JOBPOOL_RETURN_IF_ERROR(insert_label_.Run());
  }
  return absl::OkStatus();
}

absl::Status SqliteWriter::WriteRequests(const SqliteBatch& batch) {
  for (const JobWrite& write : batch.writes()) {
    if (!write.request.has_value()) continue;
    const std::string id = PackKey(write.request->id.high, write.request->id.low);
    const std::string payload = PackKey(write.request->payload.high, write.request->payload.low);
    put_request_.BindBlob(1, id);
    put_request_.BindBlob(2, payload);
    put_request_.BindText(3, write.job->id);
    put_request_.BindInt(4, NanosOf(write.job->create_time + kRequestIdLifetime));
    JOBPOOL_RETURN_IF_ERROR(put_request_.Run());
  }
  return absl::OkStatus();
}

absl::StatusOr<int64_t> SqliteWriter::FacetOf(const JobRecord& job) {
  FacetKey key{job.state, KindOf(job.work), job.priority, job.daemon, *job.pool};
  const auto [found, is_new] = facets_.try_emplace(std::move(key), static_cast<int64_t>(facets_.size()) + 1);
  if (!is_new) return found->second;
  made_facets_ = true;
  insert_facet_.BindInt(1, found->second);
  insert_facet_.BindInt(2, static_cast<int64_t>(job.state) + 1);
  insert_facet_.BindText(3, KindName(KindOf(job.work)));
  insert_facet_.BindInt(4, int64_t{job.priority});
  insert_facet_.BindText(5, *job.pool);
  insert_facet_.BindInt(6, job.daemon ? 1 : 0);
  JOBPOOL_RETURN_IF_ERROR(insert_facet_.Run());
  return found->second;
}

void SqliteWriter::CountFacet(int64_t facet, int64_t jobs) {
  for (auto& [changed, more] : facet_changes_) {
    if (changed != facet) continue;
    more += jobs;
    return;
  }
  facet_changes_.emplace_back(facet, jobs);
}

absl::Status SqliteWriter::WriteCounts() {
  for (const auto& [facet, jobs] : facet_changes_) {
    count_facet_.BindInt(1, facet);
    count_facet_.BindInt(2, jobs);
    JOBPOOL_RETURN_IF_ERROR(count_facet_.Run());
  }
  // Of jobs that are there the table tells.
  if (deleted_number_ <= written_last_number_) return absl::OkStatus();
  put_meta_.BindText(1, "last_number");
  put_meta_.BindInt(2, static_cast<int64_t>(deleted_number_));
  return put_meta_.Run();
}

absl::StatusOr<bool> SqliteWriter::Delete(const std::string& id) {
  bool found = false;
  const absl::Status status = InTransaction([&]() -> absl::Status {
    std::vector<ToDelete> jobs;
    {
      const SqliteScope scope(find_);
      find_.BindText(1, id);
      JOBPOOL_ASSIGN_OR_RETURN(found, find_.Step());
      if (found) jobs.push_back({find_.Int(0), find_.Int(1), find_.Int(2)});
    }
    return DeleteJobs(jobs);
  });
  if (!status.ok()) return status;
  return found;
}

absl::Status SqliteWriter::DeleteKept(int64_t number) {
  std::vector<ToDelete> jobs;
  {
    const SqliteScope scope(find_number_);
    find_number_.BindInt(1, number);
    JOBPOOL_ASSIGN_OR_RETURN(const bool found, find_number_.Step());
    if (found) jobs.push_back({find_number_.Int(0), find_number_.Int(1), find_number_.Int(2)});
  }
  return DeleteJobs(jobs);
}

absl::Status SqliteWriter::DeleteJobs(const std::vector<ToDelete>& jobs) {
  absl::flat_hash_set<int64_t> with_other_labels;
  for (const ToDelete& job : jobs) {
    if (job.labels > 0) {
      JOBPOOL_ASSIGN_OR_RETURN(const bool all, DeleteLabels(job));
      if (!all) with_other_labels.insert(job.number);
    }
    delete_ended_.BindInt(1, job.number);
    JOBPOOL_RETURN_IF_ERROR(delete_ended_.Run());
    CountFacet(job.facet, -1);
    --next_.ended_jobs;
    deleted_number_ = std::max(deleted_number_, static_cast<uint64_t>(job.number));
  }
  return with_other_labels.empty() ? absl::OkStatus() : SearchLabels(with_other_labels);
}

// The record tells which labels it has. False: some of them are others, as the record is damaged.
absl::StatusOr<bool> SqliteWriter::DeleteLabels(const ToDelete& to_delete) {
  JobRecord job;
  {
    const SqliteScope scope(record_);
    record_.BindInt(1, to_delete.number);
    JOBPOOL_ASSIGN_OR_RETURN(const bool row, record_.Step());
    if (!row) return false;
    absl::StatusOr<JobRecord> decoded = decoder_.Decode(record_.Bytes(0));
    if (!decoded.ok() || static_cast<int64_t>(decoded->number) != to_delete.number) return false;
    job = *std::move(decoded);
  }
  int64_t deleted = 0;
  for (const auto& [key, value] : job.Options().labels) {
    delete_label_.BindText(1, key);
    delete_label_.BindText(2, value);
    delete_label_.BindInt(3, NanosOf(job.create_time));
    delete_label_.BindText(4, job.id);
    JOBPOOL_RETURN_IF_ERROR(delete_label_.Run());
    deleted += sqlite3_changes64(db_.get());
  }
  return deleted == to_delete.labels;
}

// Reads the whole table, since it has no index by number: only damage makes one need it. Labels that stayed
// would make each list by them fail.
absl::Status SqliteWriter::SearchLabels(const absl::flat_hash_set<int64_t>& numbers) {
  struct Label {
    std::string key;
    std::string value;
    int64_t create_time;
    std::string id;
  };
  std::vector<Label> found;
  {
    const SqliteScope scope(labels_);
    for (;;) {
      JOBPOOL_ASSIGN_OR_RETURN(const bool row, labels_.Step());
      if (!row) break;
      if (!numbers.contains(labels_.Int(4))) continue;
      found.push_back({std::string(labels_.Bytes(0)), std::string(labels_.Bytes(1)), labels_.Int(2),
                       std::string(labels_.Bytes(3))});
    }
  }
  for (const Label& label : found) {
    delete_label_.BindText(1, label.key);
    delete_label_.BindText(2, label.value);
    delete_label_.BindInt(3, label.create_time);
    delete_label_.BindText(4, label.id);
    JOBPOOL_RETURN_IF_ERROR(delete_label_.Run());
  }
  return absl::OkStatus();
}

absl::StatusOr<SqliteWriter::Expired> SqliteWriter::DeleteExpired(absl::Time now, size_t max_jobs,
                                                                  size_t max_requests) {
  Expired expired;
  EndPlace place = expired_up_to_;
  const absl::Status status = InTransaction([&]() -> absl::Status {
    std::vector<ToDelete> jobs;
    JOBPOOL_RETURN_IF_ERROR(FindExpired(now, max_jobs, jobs));
    JOBPOOL_RETURN_IF_ERROR(FindExpiredCommon(now, max_jobs, jobs, place));
    JOBPOOL_RETURN_IF_ERROR(DeleteJobs(jobs));
    expired.jobs = jobs.size();
    JOBPOOL_ASSIGN_OR_RETURN(expired.requests, DeleteExpiredRequests(now, max_requests));
    return absl::OkStatus();
  });
  if (!status.ok()) return status;
  expired_up_to_ = std::move(place);
  return expired;
}

// Those that are kept for another time than most.
absl::Status SqliteWriter::FindExpired(absl::Time now, size_t limit, std::vector<ToDelete>& jobs) {
  const SqliteScope scope(expired_);
  expired_.BindInt(1, NanosOf(now));
  expired_.BindInt(2, static_cast<int64_t>(limit));
  for (;;) {
    JOBPOOL_ASSIGN_OR_RETURN(const bool row, expired_.Step());
    if (!row) return absl::OkStatus();
    jobs.push_back({expired_.Int(0), expired_.Int(1), expired_.Int(2)});
  }
}

// The others, in the order of their ends.
absl::Status SqliteWriter::FindExpiredCommon(absl::Time now, size_t limit, std::vector<ToDelete>& jobs,
                                             EndPlace& place) {
  SqliteStatement& rows = expired_common_;
  const EndPlace from = place;
  const SqliteScope scope(rows);
  rows.BindInt(1, NanosOf(now - kCommonRetention));
  rows.BindInt(2, from.end_time);
  rows.BindInt(3, from.create_time);
  rows.BindText(4, from.id);
  for (size_t passed_over = 0; jobs.size() < limit && passed_over < kMaxPassedOver;) {
    JOBPOOL_ASSIGN_OR_RETURN(const bool row, rows.Step());
    if (!row) break;
    if (rows.IsNull(3)) {
      jobs.push_back({rows.Int(0), rows.Int(1), rows.Int(2)});
    } else {
      ++passed_over;
    }
    place = {rows.Int(4), rows.Int(5), std::string(rows.Bytes(6))};
  }
  return absl::OkStatus();
}

absl::StatusOr<size_t> SqliteWriter::DeleteExpiredRequests(absl::Time now, size_t limit) {
  std::vector<std::string> ids;
  {
    const SqliteScope scope(expired_requests_);
    expired_requests_.BindInt(1, NanosOf(now));
    expired_requests_.BindInt(2, static_cast<int64_t>(limit));
    for (;;) {
      JOBPOOL_ASSIGN_OR_RETURN(const bool row, expired_requests_.Step());
      if (!row) break;
      ids.emplace_back(expired_requests_.Bytes(0));
    }
  }
  for (const std::string& id : ids) {
    delete_request_.BindBlob(1, id);
    JOBPOOL_RETURN_IF_ERROR(delete_request_.Run());
  }
  return ids.size();
}

absl::Status SqliteWriter::GiveBack(int64_t bytes) {
  return InTransaction([&]() -> absl::Status {
    // Each step takes one page.
    const SqliteScope scope(give_back_);
    for (int64_t given = 0; given < bytes; given += page_bytes_) {
      JOBPOOL_ASSIGN_OR_RETURN(const bool more, give_back_.Step());
      if (!more) break;
    }
    return absl::OkStatus();
  });
}

absl::Status SqliteWriter::EmptyLog() {
  sqlite3_busy_timeout(db_.get(), 0);
  const int code =
      sqlite3_wal_checkpoint_v2(db_.get(), nullptr, SQLITE_CHECKPOINT_TRUNCATE, nullptr, nullptr);
  sqlite3_busy_timeout(db_.get(), kBusyTimeoutMs);
  return code == SQLITE_OK ? absl::OkStatus() : SqliteError(db_.get(), code);
}

absl::StatusOr<bool> SqliteWriter::HasCleanMark() {
  JOBPOOL_ASSIGN_OR_RETURN(const std::optional<int64_t> clean,
                           db_.ReadInt("SELECT value FROM meta WHERE name = 'clean'"));
  return clean.has_value();
}

absl::Status SqliteWriter::RemoveCleanMark() { return db_.Execute("DELETE FROM meta WHERE name = 'clean'"); }

absl::Status SqliteWriter::CheckWritable() {
  return InTransaction([&] {
    put_meta_.BindText(1, "writable");
    put_meta_.BindInt(2, ++checks_);
    return put_meta_.Run();
  });
}

absl::Status SqliteWriter::SetCleanMark() {
  db_.SetKeepsLog(false);
  put_meta_.BindText(1, "clean");
  put_meta_.BindInt(2, int64_t{1});
  return put_meta_.Run();
}

}  // namespace jobpool
