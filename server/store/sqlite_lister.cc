// How SqliteLister answers a query: as JobIndex::Lister does (server/query/job_lister.cc), with ranges of
// indexes in place of ranges of sets. SQLite is told which index to take: each statement reads a part of one,
// in its order, without looking at the table.

#include "server/store/sqlite_lister.h"

#include <algorithm>
#include <limits>
#include <tuple>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "absl/strings/substitute.h"
#include "server/base/status_macros.h"

namespace jobpool {
namespace {

// How far it is counted which of several sources that can be walked is the smallest.
constexpr size_t kMaxCounted = 1024;

// What is read of an index at once.
constexpr size_t kMinChunk = 8;
constexpr size_t kMaxChunk = 512;

// A page of larger records is cut short; an answer has no room for so many.
constexpr size_t kMaxPageBytes = size_t{8} << 20;
// Those that do not match are read, too.
constexpr size_t kMaxLookedAtBytes = size_t{64} << 20;

constexpr int64_t kFirstNanos = std::numeric_limits<int64_t>::min();
constexpr int64_t kLastNanos = std::numeric_limits<int64_t>::max();

constexpr char kFacets[] =
    "SELECT facet, state, kind, priority, pool, jobs, daemon FROM facets WHERE jobs > 0";
constexpr char kRecord[] = "SELECT record FROM ended_jobs WHERE number = ?1";

bool IsDigits(absl::string_view text) {
  return std::all_of(text.begin(), text.end(), [](unsigned char c) { return absl::ascii_isdigit(c); });
}

// Whether a job may be called so without having asked for it (`Job-N`): then it has no display_name.
bool CanBeGiven(absl::string_view name) { return absl::ConsumePrefix(&name, "Job-") && IsDigits(name); }
bool CanBeginGiven(absl::string_view prefix) {
  return absl::StartsWith("Job-", prefix) || CanBeGiven(prefix);
}

// The first text behind all that begin with `prefix`, which is UTF-8 and not empty.
std::string Behind(std::string prefix) {
  ++prefix.back();
  return prefix;
}

// A place in an index, between two jobs.
struct Place {
  int64_t time = 0;  // of indexes by another time than create_time
  int64_t created = kFirstNanos;
  std::string id;        // behind it
  bool all_ids = false;  // behind all

  bool operator<(const Place& other) const {
    return std::tie(time, created, all_ids, id) <
           std::tie(other.time, other.created, other.all_ids, other.id);
  }
};

Place BeforeTime(int64_t time) { return {time, kFirstNanos, "", false}; }
Place BehindTime(int64_t time) { return {time, kLastNanos, "", true}; }

// What lies between; a place is that of a job at most at an end that is left out.
struct Range {
  Place lower;
  Place upper;
};

struct Entry {
  int64_t number;
  int64_t time;
  int64_t created;
  std::string id;

  Place At() const { return {time, created, id, false}; }
};

}  // namespace

std::string SqliteLister::Sql(Table table, bool descending) {
  const auto by_create_time = [&](absl::string_view from) {
    return absl::Substitute(
        "SELECT number, create_time, id FROM $0 AND (create_time, id) > (?2, ?3) AND (create_time, id) < "
        "(?4, "
        "?5) ORDER BY create_time$1, id$1 LIMIT ?6",
        from, descending ? " DESC" : "");
  };
  const auto by_time = [&](absl::string_view time, absl::string_view index) {
    return absl::Substitute(
        "SELECT number, create_time, id, $0 FROM ended_jobs INDEXED BY $1 WHERE $0 IS NOT NULL AND ($0, "
        "create_time, id) > (?7, ?2, ?3) AND ($0, create_time, id) < (?8, ?4, ?5) ORDER BY $0$2, "
        "create_time$2, "
        "id$2 LIMIT ?6",
        time, index, descending ? " DESC" : "");
  };
  switch (table) {
    case Table::kFacet:
      return by_create_time("ended_jobs INDEXED BY ended_by_facet WHERE facet = ?1");
    case Table::kLabel:
      return by_create_time("labels WHERE key = ?1 AND value = ?7");
    case Table::kName:
      return by_create_time("ended_jobs INDEXED BY ended_by_name WHERE display_name = ?1");
    case Table::kStart:
      return by_time("start_time", "ended_by_start");
    case Table::kEnd:
      return by_time("end_time", "ended_by_end");
    case Table::kSchedule:
      return by_time("schedule_time", "ended_by_schedule");
    case Table::kDeadline:
      return by_time("deadline_time", "ended_by_deadline");
    case Table::kLabelKey:
      return "SELECT number FROM labels WHERE key = ?1 LIMIT ?6";
    case Table::kNamePrefix:
      return "SELECT number FROM ended_jobs INDEXED BY ended_by_name WHERE display_name >= ?1 AND "
             "display_name < "
             "?7 LIMIT ?6";
  }
  return "";
}

std::vector<std::string> SqliteLister::Statements() {
  std::vector<std::string> statements = {kFacets, kRecord};
  for (size_t table = 0; table < kTables; ++table) {
    for (const bool descending : {false, true}) {
      statements.push_back(Sql(static_cast<Table>(table), descending));
    }
  }
  return statements;
}

absl::StatusOr<SqliteStatement*> SqliteLister::Prepared(SqliteStatement& statement, absl::string_view sql) {
  if (!statement) {
    JOBPOOL_ASSIGN_OR_RETURN(statement, db_.Prepare(sql));
  }
  return &statement;
}

absl::StatusOr<SqliteStatement*> SqliteLister::Statement(Table table, bool descending) {
  SqliteStatement& statement = ranges_[static_cast<size_t>(table)][descending ? 1 : 0];
  if (statement) return &statement;
  return Prepared(statement, Sql(table, descending));
}

/// One answer.
class SqliteLister::Listing {
 public:
  Listing(SqliteLister& lister, const JobQuery& query)
      : lister_(lister), query_(query), budget_(std::max<size_t>(query.max_looked_at, 1)) {}

  absl::StatusOr<StoredPage> List() {
    if (query_.limit == 0 || !BoundsAreSensible()) return std::move(page_);
    JOBPOOL_RETURN_IF_ERROR(ReadFacets());
    if (facets_.empty()) return std::move(page_);
    AddSources();
    JOBPOOL_ASSIGN_OR_RETURN(Source * best, Smallest());
    if (best == nullptr) {
      JOBPOOL_RETURN_IF_ERROR(WalkFacets());
    } else if (best->in_order) {
      JOBPOOL_RETURN_IF_ERROR(IsTimeTable(best->table) ? WalkTime(*best)
                                                       : WalkOne(*best, !query_.order.oldest_first()));
    } else {
      JOBPOOL_RETURN_IF_ERROR(Collect(best->entries));
    }
    return std::move(page_);
  }

 private:
  struct Left {
    int64_t facet;
    JobState state;
    Kind kind;
    int priority;
    std::optional<bool> daemon;
    std::string pool;
    size_t jobs;
    bool all_match;

    Facet Of() const { return {state, kind, priority, daemon, pool}; }
  };

  // Jobs of one key in one index; as a source, all jobs that can match.
  struct Source {
    Table table;
    int64_t facet = 0;
    std::string key = {};
    std::string value = {};
    Range range = {};
    bool in_order = false;  // that is asked for: it can be walked
    size_t most = 0;        // how far it is counted
    std::vector<Entry> entries = {};
    bool counted = false;  // `entries` are all
  };

  static bool IsTimeTable(Table table) { return table >= Table::kStart && table <= Table::kDeadline; }

  bool ByCreateTime() const {
    return query_.order.facet_terms().empty() && !query_.order.time_term().has_value();
  }

  bool BoundsAreSensible() const {
    for (const JobField field : {JobField::kCreateTime, JobField::kStartTime, JobField::kEndTime,
                                 JobField::kScheduleTime, JobField::kDeadlineTime}) {
      const TimeBounds& bounds = query_.filter.needs().Of(field);
      if (bounds.first > bounds.last) return false;
    }
    return true;
  }

  absl::Status ReadFacets() {
    JOBPOOL_ASSIGN_OR_RETURN(SqliteStatement * statement, lister_.Prepared(lister_.facets_, kFacets));
    const SqliteScope scope(*statement);
    for (;;) {
      JOBPOOL_ASSIGN_OR_RETURN(const bool row, statement->Step());
      if (!row) return absl::OkStatus();
      const std::optional<Kind> kind = FindKind(statement->Bytes(2));
      const int64_t state = statement->Int(1) - 1;
      if (!kind.has_value() || state < 0 || state > static_cast<int64_t>(JobState::kCancelled)) {
        return absl::DataLossError("the store's table of facets is damaged");
      }
      Left left{statement->Int(0),
                static_cast<JobState>(state),
                *kind,
                static_cast<int>(statement->Int(3)),
                statement->IsNull(6) ? std::nullopt : std::make_optional(statement->Int(6) != 0),
                std::string(statement->Bytes(4)),
                static_cast<size_t>(statement->Int(5)),
                false};
      const Truth truth = query_.filter.OfFacet(left.Of());
      if (truth == Truth::kFalse) continue;
      left.all_match = truth == Truth::kTrue;
      facet_jobs_ += left.jobs;
      facets_.push_back(std::move(left));
    }
  }

  // The part of a list by create_time that is asked for.
  Range Window(const JobPosition* after) const {
    const TimeBounds& created = query_.filter.needs().Of(JobField::kCreateTime);
    Range range{{0, NanosOf(created.first), "", false}, {0, NanosOf(created.last), "", true}};
    if (after == nullptr) return range;
    const Place place{0, NanosOf(after->create_time), after->id, false};
    if (query_.order.oldest_first()) {
      range.lower = std::max(range.lower, place);
    } else {
      range.upper = std::min(range.upper, place);
    }
    return range;
  }

  const JobPosition* After() const { return query_.after.has_value() ? &*query_.after : nullptr; }

  void AddSources() {
    const FilterNeeds& needs = query_.filter.needs();
    // These are sorted by create_time within one label, or one name.
    const bool in_order = ByCreateTime();
    const Range window = Window(in_order ? After() : nullptr);
    const size_t most = in_order ? kMaxCounted : budget_;
    for (const Labels::value_type& label : needs.labels) {
      sources_.push_back({Table::kLabel, 0, label.first, label.second, window, in_order, most});
    }
    for (const std::string& key : needs.label_keys) {
      sources_.push_back({Table::kLabelKey, 0, key, "", {}, false, budget_});
    }
    if (needs.display_name.has_value() && !CanBeGiven(*needs.display_name)) {
      sources_.push_back({Table::kName, 0, *needs.display_name, "", window, in_order, most});
    }
    if (needs.display_name_prefix.has_value() && !CanBeginGiven(*needs.display_name_prefix)) {
      const std::string& prefix = *needs.display_name_prefix;
      sources_.push_back({Table::kNamePrefix, 0, prefix, Behind(prefix), {}, false, budget_});
    }
    AddTime(JobField::kStartTime, Table::kStart);
    AddTime(JobField::kEndTime, Table::kEnd);
    AddTime(JobField::kScheduleTime, Table::kSchedule);
    AddTime(JobField::kDeadlineTime, Table::kDeadline);
  }

  void AddTime(JobField field, Table table) {
    const TimeBounds& bounds = query_.filter.needs().Of(field);
    const bool in_order = query_.order.time_term().has_value() && query_.order.time_term()->field == field;
    if (!bounds.needed && !in_order) return;
    const Range range{BeforeTime(NanosOf(bounds.first)), BehindTime(NanosOf(bounds.last))};
    sources_.push_back({table, 0, "", "", range, in_order, in_order ? kMaxCounted : budget_});
    if (in_order) time_source_ = true;
  }

  // Null: the facets.
  absl::StatusOr<Source*> Smallest() {
    if (sources_.empty()) return nullptr;
    size_t facet_jobs = facet_jobs_;
    if (time_source_) {
      // The facets do not give that order, but they may have fewer jobs than have the time.
      if (facet_jobs <= budget_) sources_.push_back({Table::kFacet, 0, "", "", {}, false, budget_});
      facet_jobs = kMaxCounted + 1;
    }
    if (sources_.size() == 1 && sources_[0].in_order && facet_jobs > kMaxCounted) return &sources_[0];
    // Each is counted a little further in turn, so that it takes no longer than the smallest does.
    for (size_t counted = 64;; counted *= 4) {
      bool goes_on = false;
      Source* smallest = nullptr;
      for (Source& source : sources_) {
        const size_t most = std::min(source.most, facet_jobs - 1);
        if (counted / 4 > most) continue;
        JOBPOOL_RETURN_IF_ERROR(Count(source, std::min(counted, most)));
        if (!source.counted) {
          goes_on = goes_on || counted < most;
        } else if (smallest == nullptr || source.entries.size() < smallest->entries.size()) {
          smallest = &source;
        }
      }
      if (smallest != nullptr) return smallest;
      if (!goes_on) break;
    }
    if (facet_jobs <= kMaxCounted) return nullptr;
    for (Source& source : sources_) {
      if (source.in_order) return &source;
    }
    return nullptr;
  }

  // Up to `most`, and one more that tells that there are more.
  absl::Status Count(Source& source, size_t most) {
    source.entries.clear();
    if (source.table != Table::kFacet) {
      JOBPOOL_RETURN_IF_ERROR(Read(source, source.range, false, most + 1, source.entries));
    } else {
      for (const Left& left : facets_) {
        const Source facet{Table::kFacet, left.facet};
        const Range all{BeforeCreated(kFirstNanos), {0, kLastNanos, "", true}};
        JOBPOOL_RETURN_IF_ERROR(Read(facet, all, false, most + 1 - source.entries.size(), source.entries));
      }
    }
    source.counted = source.entries.size() <= most;
    return absl::OkStatus();
  }

  static Place BeforeCreated(int64_t created) { return {0, created, "", false}; }

  // Appends up to `limit` of what lies in `range`, from its lower end, or from its upper.
  absl::Status Read(const Source& source, const Range& range, bool descending, size_t limit,
                    std::vector<Entry>& entries) {
    JOBPOOL_ASSIGN_OR_RETURN(SqliteStatement * statement, lister_.Statement(source.table, descending));
    const SqliteScope scope(*statement);
    const bool by_time = IsTimeTable(source.table);
    const bool has_place = source.table != Table::kLabelKey && source.table != Table::kNamePrefix;
    if (source.table == Table::kFacet) {
      statement->BindInt(1, source.facet);
    } else if (!by_time) {
      statement->BindText(1, source.key);
    }
    if (has_place) {
      BindPlace(*statement, 2, range.lower);
      BindPlace(*statement, 4, range.upper);
    }
    if (by_time) {
      statement->BindInt(7, range.lower.time);
      statement->BindInt(8, range.upper.time);
    } else if (source.table == Table::kLabel || source.table == Table::kNamePrefix) {
      statement->BindText(7, source.value);
    }
    statement->BindInt(6, static_cast<int64_t>(limit));
    for (;;) {
      JOBPOOL_ASSIGN_OR_RETURN(const bool row, statement->Step());
      if (!row) return absl::OkStatus();
      Entry entry{statement->Int(0), 0, 0, {}};
      if (has_place) {
        entry.created = statement->Int(1);
        entry.id = std::string(statement->Bytes(2));
      }
      if (by_time) entry.time = statement->Int(3);
      entries.push_back(std::move(entry));
    }
  }

  // SQLite sorts bytes behind all texts.
  static void BindPlace(SqliteStatement& statement, int index, const Place& place) {
    statement.BindInt(index, place.created);
    if (place.all_ids) {
      statement.BindBlob(index + 1, "");
    } else {
      statement.BindText(index + 1, place.id);
    }
  }

  absl::StatusOr<JobRecord> ReadRecord(int64_t number, size_t* bytes) {
    JOBPOOL_ASSIGN_OR_RETURN(SqliteStatement * statement, lister_.Prepared(lister_.record_, kRecord));
    const SqliteScope scope(*statement);
    statement->BindInt(1, number);
    JOBPOOL_ASSIGN_OR_RETURN(const bool row, statement->Step());
    if (!row) return absl::DataLossError(absl::StrCat("an index has job ", number, ", the table has not"));
    *bytes = statement->Bytes(0).size();
    return lister_.decoder_.Decode(statement->Bytes(0));
  }

  // Whether it goes on; false: that is enough.
  absl::StatusOr<bool> Look(int64_t number, bool matches = false) {
    size_t bytes = 0;
    JOBPOOL_ASSIGN_OR_RETURN(JobRecord job, ReadRecord(number, &bytes));
    ++looked_at_;
    looked_at_bytes_ += bytes;
    const bool found = matches || query_.filter.Matches(job);
    if (found) page_bytes_ += bytes;
    const bool enough = (found && page_.jobs.size() + 1 == query_.limit) || looked_at_ >= budget_ ||
                        page_bytes_ >= kMaxPageBytes || looked_at_bytes_ >= kMaxLookedAtBytes;
    if (enough) page_.looked_up_to = query_.order.PositionOf(job);
    if (found) page_.jobs.push_back(std::make_shared<const JobRecord>(std::move(job)));
    return !enough;
  }

  size_t FirstChunk(size_t sources) const {
    return std::clamp(query_.limit / sources + 1, kMinChunk, kMaxChunk);
  }

  absl::Status WalkOne(const Source& source, bool descending) {
    return Walk(source, source.range, descending).status();
  }

  // In the index's order, or the reverse. Whether it goes on.
  absl::StatusOr<bool> Walk(const Source& source, Range range, bool descending) {
    std::vector<Entry> entries;
    for (size_t chunk = FirstChunk(1);; chunk = std::min(chunk * 2, kMaxChunk)) {
      entries.clear();
      JOBPOOL_RETURN_IF_ERROR(Read(source, range, descending, chunk, entries));
      for (const Entry& entry : entries) {
        JOBPOOL_ASSIGN_OR_RETURN(const bool goes_on, Look(entry.number));
        if (!goes_on) return false;
      }
      if (entries.size() < chunk) return true;
      (descending ? range.upper : range.lower) = entries.back().At();
    }
  }

  // Jobs of the same time come newest first, in either direction: ascending, they come in the reverse of the
  // index's order, but the times in it.
  absl::Status WalkTime(const Source& source) {
    Range range = source.range;
    const JobPosition* const after = After();
    if (query_.order.time_term()->descending) {
      if (after != nullptr) range.upper = std::min(range.upper, PlaceOf(*after));
      return Walk(source, range, true).status();
    }
    if (after != nullptr && range.lower < BehindTime(after->time_nanos)) {
      const Range rest{std::max(range.lower, BeforeTime(after->time_nanos)), PlaceOf(*after)};
      if (!(range.upper < rest.upper)) {
        JOBPOOL_ASSIGN_OR_RETURN(const bool goes_on, Walk(source, rest, true));
        if (!goes_on) return absl::OkStatus();
      }
      range.lower = BehindTime(after->time_nanos);
    }
    std::vector<Entry> entries;
    for (size_t chunk = FirstChunk(1);; chunk = std::min(chunk * 2, kMaxChunk)) {
      entries.clear();
      JOBPOOL_RETURN_IF_ERROR(Read(source, range, false, chunk, entries));
      if (entries.empty()) return absl::OkStatus();
      const bool is_all = entries.size() < chunk;
      if (!is_all) {  // the last time may have more
        const int64_t last = entries.back().time;
        while (!entries.empty() && entries.back().time == last) entries.pop_back();
        if (entries.empty()) {
          JOBPOOL_ASSIGN_OR_RETURN(const bool goes_on,
                                   Walk(source, {BeforeTime(last), BehindTime(last)}, true));
          if (!goes_on) return absl::OkStatus();
          range.lower = BehindTime(last);
          continue;
        }
      }
      for (auto group = entries.begin(); group != entries.end();) {
        auto group_end = group;
        while (group_end != entries.end() && group_end->time == group->time) ++group_end;
        for (auto entry = group_end; entry != group;) {
          JOBPOOL_ASSIGN_OR_RETURN(const bool goes_on, Look((--entry)->number));
          if (!goes_on) return absl::OkStatus();
        }
        group = group_end;
      }
      if (is_all) return absl::OkStatus();
      range.lower = BehindTime(entries.back().time);
    }
  }

  static Place PlaceOf(const JobPosition& position) {
    return {position.time_nanos, NanosOf(position.create_time), position.id, false};
  }

  // Facets that the order takes for equal make a group: they are merged.
  absl::Status WalkFacets() {
    const auto comes_first = [this](const Left& a, const Left& b) {
      return query_.order.CompareFacets(a.Of(), b.Of()) < 0;
    };
    std::stable_sort(facets_.begin(), facets_.end(), comes_first);
    const JobPosition* const after = After();
    for (auto group = facets_.begin(); group != facets_.end();) {
      const auto group_end = std::upper_bound(group, facets_.end(), *group, comes_first);
      const int from_after =
          after == nullptr ? 1 : query_.order.CompareFacets(group->Of(), jobpool::FacetOf(*after));
      if (from_after >= 0) {
        JOBPOOL_ASSIGN_OR_RETURN(const bool goes_on,
                                 Merge(group, group_end, Window(from_after == 0 ? after : nullptr)));
        if (!goes_on) return absl::OkStatus();
      }
      group = group_end;
    }
    return absl::OkStatus();
  }

  // A facet's jobs, of which some are read ahead.
  struct Cursor {
    Source source;
    bool all_match;
    size_t chunk;
    std::vector<Entry> entries = {};
    size_t at = 0;
    bool is_all = false;

    const Entry& Front() const { return entries[at]; }
  };

  absl::Status Refill(Cursor& cursor, bool descending) {
    if (!cursor.entries.empty()) {
      (descending ? cursor.source.range.upper : cursor.source.range.lower) = cursor.entries.back().At();
    }
    cursor.entries.clear();
    cursor.at = 0;
    if (cursor.is_all) return absl::OkStatus();
    JOBPOOL_RETURN_IF_ERROR(
        Read(cursor.source, cursor.source.range, descending, cursor.chunk, cursor.entries));
    cursor.is_all = cursor.entries.size() < cursor.chunk;
    cursor.chunk = std::min(cursor.chunk * 2, kMaxChunk);
    return absl::OkStatus();
  }

  absl::StatusOr<bool> Merge(std::vector<Left>::const_iterator group,
                             std::vector<Left>::const_iterator group_end, const Range& window) {
    const bool descending = !query_.order.oldest_first();
    const size_t chunk = FirstChunk(static_cast<size_t>(group_end - group));
    std::vector<Cursor> cursors;
    for (; group != group_end; ++group) {
      Cursor cursor{{Table::kFacet, group->facet, "", "", window}, group->all_match, chunk};
      JOBPOOL_RETURN_IF_ERROR(Refill(cursor, descending));
      if (!cursor.entries.empty()) cursors.push_back(std::move(cursor));
    }
    // The heap's front is what comes first.
    const auto comes_later = [descending](const Cursor& a, const Cursor& b) {
      const auto place_a = std::tie(a.Front().created, a.Front().id);
      const auto place_b = std::tie(b.Front().created, b.Front().id);
      return descending ? place_a < place_b : place_b < place_a;
    };
    std::make_heap(cursors.begin(), cursors.end(), comes_later);
    while (!cursors.empty()) {
      JOBPOOL_ASSIGN_OR_RETURN(const bool goes_on,
                               Look(cursors.front().Front().number, cursors.front().all_match));
      if (!goes_on) return false;
      std::pop_heap(cursors.begin(), cursors.end(), comes_later);
      Cursor& cursor = cursors.back();
      if (++cursor.at == cursor.entries.size()) {
        JOBPOOL_RETURN_IF_ERROR(Refill(cursor, descending));
      }
      if (cursor.entries.empty()) {
        cursors.pop_back();
      } else {
        std::push_heap(cursors.begin(), cursors.end(), comes_later);
      }
    }
    return true;
  }

  absl::Status Collect(const std::vector<Entry>& entries) {
    const JobOrder& order = query_.order;
    std::vector<std::pair<JobPosition, int64_t>> matches;
    size_t bytes = 0;
    for (const Entry& entry : entries) {
      JOBPOOL_ASSIGN_OR_RETURN(const JobRecord job, ReadRecord(entry.number, &bytes));
      if (!order.Has(job) || !query_.filter.Matches(job)) continue;
      JobPosition position = order.PositionOf(job);
      if (query_.after.has_value() && !order.Before(*query_.after, position)) continue;
      matches.emplace_back(std::move(position), entry.number);
    }
    std::sort(matches.begin(), matches.end(),
              [&](const auto& a, const auto& b) { return order.Before(a.first, b.first); });
    for (const auto& [position, number] : matches) {
      if (page_.jobs.size() == query_.limit || page_bytes_ >= kMaxPageBytes) return absl::OkStatus();
      JOBPOOL_ASSIGN_OR_RETURN(JobRecord job, ReadRecord(number, &bytes));
      page_bytes_ += bytes;
      page_.jobs.push_back(std::make_shared<const JobRecord>(std::move(job)));
      page_.looked_up_to = position;
    }
    page_.looked_up_to = std::nullopt;  // all
    return absl::OkStatus();
  }

  SqliteLister& lister_;
  const JobQuery& query_;
  const size_t budget_;
  StoredPage page_;
  size_t looked_at_ = 0;
  size_t looked_at_bytes_ = 0;
  size_t page_bytes_ = 0;
  std::vector<Left> facets_;
  size_t facet_jobs_ = 0;
  std::vector<Source> sources_;
  bool time_source_ = false;  // there is one that gives the order by a time
};

absl::StatusOr<StoredPage> SqliteLister::List(const JobQuery& query) { return Listing(*this, query).List(); }

}  // namespace jobpool
