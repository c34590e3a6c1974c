// How JobIndex answers a query. It has the jobs sorted in several ways. Those that come in the order that is
// asked for (its own sources) are walked, from where the page before ended; any other that holds all that can
// match is collected and sorted, if it holds few. Whichever is smallest is taken.

#include <algorithm>
#include <functional>
#include <iterator>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/strip.h"
#include "server/query/job_index.h"

namespace jobpool {
namespace {

// How far it is counted which of several sources that can be walked is the smallest: where all are larger,
// any will do.
constexpr size_t kMaxCounted = 4096;

/// The part of a list by create_time that is asked for.
struct Window {
  absl::Time first;
  absl::Time last;
  const JobPosition* after;
  bool oldest_first;
  int64_t first_nanos = NanosOf(first);
  int64_t last_nanos = NanosOf(last);
  int64_t after_nanos = after != nullptr ? NanosOf(after->create_time) : 0;

  // All are false, then true, as one goes from the newest job to the oldest.
  bool Begun(const JobRecord& job) const {
    return job.create_time <= last && (after == nullptr || oldest_first || CompareAge(job) > 0);
  }
  bool Over(const JobRecord& job) const {
    return job.create_time < first || (after != nullptr && oldest_first && CompareAge(job) >= 0);
  }
  // The same, with a look at the job only where its time is that of a bound.
  bool Begun(const AgeEntry& entry) const {
    if (entry.create_nanos > last_nanos) return false;
    const bool by_after = after != nullptr && !oldest_first;
    if (by_after && entry.create_nanos > after_nanos) return false;
    const bool is_clear = entry.create_nanos < last_nanos && (!by_after || entry.create_nanos < after_nanos);
    return is_clear || Begun(*entry.job);
  }
  bool Over(const AgeEntry& entry) const {
    if (entry.create_nanos < first_nanos) return true;
    const bool by_after = after != nullptr && oldest_first;
    if (by_after && entry.create_nanos < after_nanos) return true;
    const bool is_clear = entry.create_nanos > first_nanos && (!by_after || entry.create_nanos > after_nanos);
    return !is_clear && Over(*entry.job);
  }

  bool BeginsAtOnce() const { return last == absl::InfiniteFuture() && (after == nullptr || oldest_first); }
  bool GoesOnToTheEnd() const { return first == absl::InfinitePast() && (after == nullptr || !oldest_first); }

 private:
  // Positive: older than `after`.
  int CompareAge(const JobRecord& job) const {
    if (job.create_time != after->create_time) return job.create_time < after->create_time ? 1 : -1;
    return after->id.compare(job.id);
  }
};

/// The part of a set from where `begun` gets true to where `over` does.
template <typename Set>
struct Range {
  typename Set::const_iterator begin;
  typename Set::const_iterator end;
};

template <typename Set, typename Begun, typename Over>
Range<Set> RangeOf(const Set& set, const Begun& begun, const Over& over) {
  const auto begin = FirstWhere(set, begun);
  if (begin == set.end() || over(*begin)) return {begin, begin};
  return {begin, FirstWhere(set, over)};
}

Range<AgeSet> RangeOf(const AgeSet& set, const Window& window) {
  const auto begun = [&](const AgeEntry& entry) { return window.Begun(entry); };
  const auto over = [&](const AgeEntry& entry) { return window.Over(entry); };
  const auto begin = window.BeginsAtOnce() ? set.begin() : FirstWhere(set, begun);
  if (begin == set.end() || over(*begin)) return {begin, begin};
  return {begin, window.GoesOnToTheEnd() ? set.end() : FirstWhere(set, over)};
}

bool IsDigits(absl::string_view text) {
  return std::all_of(text.begin(), text.end(), [](unsigned char c) { return absl::ascii_isdigit(c); });
}

// Whether a job may be called so without having asked for it (`Job-N`): then names_ does not know it.
bool CanBeGiven(absl::string_view name) { return absl::ConsumePrefix(&name, "Job-") && IsDigits(name); }
bool CanBeginGiven(absl::string_view prefix) {
  return absl::StartsWith("Job-", prefix) || CanBeGiven(prefix);
}

}  // namespace

class JobIndex::Lister {
 public:
  Lister(const JobIndex& index, const JobQuery& query)
      : index_(index), query_(query), budget_(std::max<size_t>(query.max_looked_at, 1)) {}

  Found List() {
    if (query_.limit == 0 || !BoundsAreSensible()) return std::move(found_);
    size_t facet_jobs = 0;
    for (const FacetSet* set : index_.facets_) {
      if (set->jobs.empty()) continue;
      const Truth truth = query_.filter.OfFacet(set->facet);
      if (truth == Truth::kFalse) continue;
      facets_.push_back({set, truth == Truth::kTrue});
      facet_jobs += set->jobs.size();
    }
    if (facets_.empty()) return std::move(found_);
    AddSources();
    if (Source* const best = Smallest(facet_jobs); best == nullptr) {
      WalkFacets();
    } else if (best->walk != nullptr) {
      best->walk();
    } else {
      Collect(best->jobs);
    }
    return std::move(found_);
  }

 private:
  struct Left {
    const FacetSet* set;
    bool all_match;
  };

  // All jobs that can match, as some set gives them.
  struct Source {
    std::function<const JobRecord*()> next;  // null: no more
    std::function<void()> walk;              // null: not in the order that is asked for
    std::vector<const JobRecord*> jobs;      // what `next` has given, of those that are not
    size_t most = 0;                         // how far it is counted
  };

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

  Window WindowAfter(const JobPosition* after) const {
    const TimeBounds& created = query_.filter.needs().Of(JobField::kCreateTime);
    return {created.first, created.last, after, query_.order.oldest_first()};
  }

  const JobPosition* After() const { return query_.after.has_value() ? &*query_.after : nullptr; }

  void AddSources() {
    const FilterNeeds& needs = query_.filter.needs();
    // These are sorted by create_time within one label, or one name.
    const bool in_order = ByCreateTime();
    const Window window = WindowAfter(in_order ? After() : nullptr);
    for (const Labels::value_type& label : needs.labels) {
      AddByKey(index_.labels_, LabelEntry(label.first, label.second, nullptr), window, in_order);
    }
    for (const std::string& key : needs.label_keys) {
      const uint64_t first = LabelEntry::FirstOf(key);
      const uint64_t last = first | UINT32_MAX;
      Add(index_.labels_, RangeOf(
                              index_.labels_, [=](const LabelEntry& entry) { return entry.hash >= first; },
                              [=](const LabelEntry& entry) { return entry.hash > last; }));
    }
    if (needs.display_name.has_value() && !CanBeGiven(*needs.display_name)) {
      AddByKey(index_.names_, NameEntry{&*needs.display_name, nullptr}, window, in_order);
    }
    if (needs.display_name_prefix.has_value() && !CanBeginGiven(*needs.display_name_prefix)) {
      const std::string& prefix = *needs.display_name_prefix;
      const auto begun = [&](const NameEntry& entry) { return *entry.name >= prefix; };
      const auto over = [&](const NameEntry& entry) {
        return *entry.name > prefix && !absl::StartsWith(*entry.name, prefix);
      };
      Add(index_.names_, RangeOf(index_.names_, begun, over));
    }
    AddTime(JobField::kStartTime, index_.starts_);
    AddTime(JobField::kEndTime, index_.ends_);
    AddTime(JobField::kScheduleTime, index_.schedules_);
    AddTime(JobField::kDeadlineTime, index_.deadlines_);
  }

  template <typename Set>
  Source& Add(const Set&, Range<Set> range) {
    Source source;
    source.next = [range]() mutable -> const JobRecord* {
      return range.begin == range.end ? nullptr : (range.begin++)->job;
    };
    source.most = budget_;
    sources_.push_back(std::move(source));
    return sources_.back();
  }

  template <typename Set>
  void AddByKey(const Set& set, const typename Set::value_type& key, const Window& window, bool in_order) {
    const auto begun = [&](const typename Set::value_type& entry) {
      const int keys = entry.CompareKey(key);
      return keys > 0 || (keys == 0 && window.Begun(entry.Age()));
    };
    const auto over = [&](const typename Set::value_type& entry) {
      const int keys = entry.CompareKey(key);
      return keys > 0 || (keys == 0 && window.Over(entry.Age()));
    };
    const Range<Set> range = RangeOf(set, begun, over);
    Source& source = Add(set, range);
    if (!in_order) return;
    source.most = kMaxCounted;
    source.walk = [this, range] { Walk(range); };
  }

  void AddTime(JobField field, const TimeSet& set) {
    const TimeBounds& bounds = query_.filter.needs().Of(field);
    const bool in_order = query_.order.time_term().has_value() && query_.order.time_term()->field == field;
    if (!bounds.needed && !in_order) return;
    const int64_t first = NanosOf(bounds.first);
    const int64_t last = NanosOf(bounds.last);
    const Range<TimeSet> range = RangeOf(
        set, [=](const TimeEntry& entry) { return entry.nanos >= first; },
        [=](const TimeEntry& entry) { return entry.nanos > last; });
    Source& source = Add(set, range);
    if (!in_order) return;
    source.most = kMaxCounted;
    source.walk = [this, &set, range] { WalkTime(set, range); };
    time_source_ = true;
  }

  // Null: the facets, which have so many jobs.
  Source* Smallest(size_t facet_jobs) {
    if (sources_.empty()) return nullptr;
    if (time_source_) {
      // The facets do not give that order, but they may have fewer jobs than have the time.
      if (facet_jobs <= budget_) sources_.push_back(FacetSource());
      facet_jobs = kMaxCounted + 1;
    }
    const bool is_only_one = sources_.size() == 1 && sources_[0].walk != nullptr && facet_jobs > kMaxCounted;
    if (is_only_one) return &sources_[0];
    bool counts = true;
    for (size_t n = 0; counts && n < facet_jobs; ++n) {
      counts = false;
      for (Source& source : sources_) {
        if (n > source.most) continue;
        counts = true;
        const JobRecord* const job = source.next();
        if (job == nullptr) return &source;
        if (source.walk == nullptr) source.jobs.push_back(job);
      }
    }
    if (facet_jobs <= kMaxCounted) return nullptr;
    for (Source& source : sources_) {
      if (source.walk != nullptr) return &source;
    }
    return nullptr;
  }

  Source FacetSource() const {
    Source source;
    size_t facet = 0;
    Range<AgeSet> range{facets_[0].set->jobs.begin(), facets_[0].set->jobs.end()};
    source.next = [this, facet, range]() mutable -> const JobRecord* {
      while (range.begin == range.end) {
        if (++facet >= facets_.size()) return nullptr;
        range = {facets_[facet].set->jobs.begin(), facets_[facet].set->jobs.end()};
      }
      return (range.begin++)->job;
    };
    source.most = budget_;
    return source;
  }

  // Returns false: that is enough.
  bool Look(const JobRecord* job, bool matches = false) {
    ++found_.looked_at;
    if (matches || query_.filter.Matches(*job)) found_.jobs.push_back(job);
    if (found_.jobs.size() < query_.limit && found_.looked_at < budget_) return true;
    found_.looked_up_to = query_.order.PositionOf(*job);
    return false;
  }

  template <typename Set>
  void Walk(const Range<Set>& range) {
    if (query_.order.oldest_first()) {
      for (auto at = range.end; at != range.begin;) {
        if (!Look((--at)->job)) return;
      }
    } else {
      for (auto at = range.begin; at != range.end; ++at) {
        if (!Look(at->job)) return;
      }
    }
  }

  // Descending, the groups of one time come in the reverse of the set's order, but each in the set's order.
  void WalkTime(const TimeSet& set, const Range<TimeSet>& range) {
    const JobPosition* const after = After();
    const Window everything{absl::InfinitePast(), absl::InfiniteFuture(), after, false};
    const auto is_after = [&](const TimeEntry& entry) {
      if (entry.nanos != after->time_nanos) return entry.nanos > after->time_nanos;
      return everything.Begun(*entry.job);
    };
    const auto from = [&](int64_t nanos) {
      return FirstWhere(set, [&](const TimeEntry& entry) { return entry.nanos >= nanos; });
    };
    if (range.begin == range.end) return;
    if (!query_.order.time_term()->descending) {
      auto at = range.begin;
      if (after != nullptr && !is_after(*at)) at = FirstWhere(set, is_after);
      for (; at != set.end() && !IsPast(range, set, at); ++at) {
        if (!Look(at->job)) return;
      }
      return;
    }
    auto group_end = range.end;
    if (after != nullptr && after->time_nanos <= std::prev(range.end)->nanos) {
      if (after->time_nanos < range.begin->nanos) return;
      group_end = from(after->time_nanos);
      for (auto at = FirstWhere(set, is_after); at != range.end && at->nanos == after->time_nanos; ++at) {
        if (!Look(at->job)) return;
      }
    }
    while (group_end != range.begin) {
      auto group = std::prev(group_end);
      const int64_t nanos = group->nanos;
      if (group != range.begin && std::prev(group)->nanos == nanos) group = from(nanos);
      for (auto at = group; at != group_end; ++at) {
        if (!Look(at->job)) return;
      }
      group_end = group;
    }
  }

  static bool IsPast(const Range<TimeSet>& range, const TimeSet& set, TimeSet::const_iterator at) {
    return range.end != set.end() && !(at->nanos < range.end->nanos);
  }

  // Facets that the order takes for equal make a group: they are merged.
  void WalkFacets() {
    const auto comes_first = [this](const Left& a, const Left& b) {
      return query_.order.CompareFacets(a.set->facet, b.set->facet) < 0;
    };
    std::stable_sort(facets_.begin(), facets_.end(), comes_first);
    const JobPosition* const after = After();
    for (auto group = facets_.begin(); group != facets_.end();) {
      const auto group_end = std::upper_bound(group, facets_.end(), *group, comes_first);
      const int from_after =
          after == nullptr ? 1 : query_.order.CompareFacets(group->set->facet, jobpool::FacetOf(*after));
      if (from_after >= 0) {
        const Window window = WindowAfter(from_after == 0 ? after : nullptr);
        const bool goes_on =
            query_.order.oldest_first()
                ? Merge<std::reverse_iterator<AgeSet::const_iterator>>(group, group_end, window)
                : Merge<AgeSet::const_iterator>(group, group_end, window);
        if (!goes_on) return;
      }
      group = group_end;
    }
  }

  template <typename Iterator>
  bool Merge(std::vector<Left>::const_iterator group, std::vector<Left>::const_iterator group_end,
             const Window& window) {
    struct Cursor {
      Iterator at;
      Iterator end;
      bool all_match;
    };
    constexpr bool kReverse = !std::is_same_v<Iterator, AgeSet::const_iterator>;
    std::vector<Cursor> cursors;
    for (; group != group_end; ++group) {
      const Range<AgeSet> range = RangeOf(group->set->jobs, window);
      if (range.begin == range.end) continue;
      if constexpr (kReverse) {
        cursors.push_back({Iterator(range.end), Iterator(range.begin), group->all_match});
      } else {
        cursors.push_back({range.begin, range.end, group->all_match});
      }
    }
    // The heap's front is what comes first.
    const auto comes_later = [](const Cursor& a, const Cursor& b) {
      return kReverse ? AgeSet::key_compare()(*a.at, *b.at) : AgeSet::key_compare()(*b.at, *a.at);
    };
    std::make_heap(cursors.begin(), cursors.end(), comes_later);
    while (!cursors.empty()) {
      Cursor& front = cursors.front();
      if (!Look(front.at->job, front.all_match)) return false;
      if (cursors.size() == 1) {
        if (++front.at == front.end) return true;
        continue;
      }
      std::pop_heap(cursors.begin(), cursors.end(), comes_later);
      if (++cursors.back().at == cursors.back().end) {
        cursors.pop_back();
      } else {
        std::push_heap(cursors.begin(), cursors.end(), comes_later);
      }
    }
    return true;
  }

  void Collect(const std::vector<const JobRecord*>& jobs) {
    const JobOrder& order = query_.order;
    std::vector<std::pair<JobPosition, const JobRecord*>> matches;
    for (const JobRecord* job : jobs) {
      ++found_.looked_at;
      if (!order.Has(*job) || !query_.filter.Matches(*job)) continue;
      JobPosition position = order.PositionOf(*job);
      if (query_.after.has_value() && !order.Before(*query_.after, position)) continue;
      matches.emplace_back(std::move(position), job);
    }
    std::sort(matches.begin(), matches.end(),
              [&](const auto& a, const auto& b) { return order.Before(a.first, b.first); });
    // Two keys of a job whose hashes begin alike give it twice.
    matches.erase(std::unique(matches.begin(), matches.end(),
                              [](const auto& a, const auto& b) { return a.second == b.second; }),
                  matches.end());
    if (matches.size() > query_.limit) {
      matches.resize(query_.limit);
      found_.looked_up_to = matches.back().first;
    }
    for (const auto& [position, job] : matches) found_.jobs.push_back(job);
  }

  const JobIndex& index_;
  const JobQuery& query_;
  const size_t budget_;
  Found found_;
  std::vector<Left> facets_;
  std::vector<Source> sources_;
  bool time_source_ = false;  // there is one that gives the order by a time
};

JobIndex::Found JobIndex::List(const JobQuery& query) const { return Lister(*this, query).List(); }

}  // namespace jobpool
