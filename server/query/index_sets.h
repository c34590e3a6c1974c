#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include "absl/container/btree_set.h"
#include "absl/strings/string_view.h"
#include "server/job/job_record.h"

namespace jobpool {

// The ordered sets of JobIndex. None of them owns what it points to. What a set is
// sorted by does not change while the job is in it.

/// What is looked for in a sorted set: the first for which `holds` is true, where it
/// is false for all before and true for all after.
template <typename Predicate>
struct Probe {
  const Predicate& holds;
};

template <typename Set, typename Predicate>
typename Set::const_iterator FirstWhere(const Set& set, const Predicate& holds) {
  return set.lower_bound(Probe<Predicate>{holds});
}

/// By create_time, then by id, both descending.
inline bool IsNewer(const JobRecord& a, const JobRecord& b) {
  return a.create_time != b.create_time ? a.create_time > b.create_time : a.id > b.id;
}

/// A job under a key; `Entry` has Compare(const Entry&): of the keys alone.
template <typename Entry>
struct ByKeyNewestFirst {
  using is_transparent = void;
  bool operator()(const Entry& a, const Entry& b) const {
    const int keys = a.Compare(b);
    return keys != 0 ? keys < 0 : IsNewer(*a.job, *b.job);
  }
  template <typename Predicate>
  bool operator()(const Entry& a, const Probe<Predicate>& probe) const {
    return !probe.holds(a);
  }
  template <typename Predicate>
  bool operator()(const Probe<Predicate>&, const Entry&) const {
    return false;
  }
};

/// With the time beside it, most are told apart without a look at their records, which of
/// a million jobs are in no cache of the processor.
struct AgeEntry {
  int64_t create_nanos;
  const JobRecord* job;

  int Compare(const AgeEntry& other) const {
    return create_nanos > other.create_nanos ? -1 : create_nanos < other.create_nanos ? 1 : 0;
  }
};
using AgeSet = absl::btree_set<AgeEntry, ByKeyNewestFirst<AgeEntry>>;

struct LabelEntry {
  const Labels::value_type* label;
  const JobRecord* job;

  int Compare(const LabelEntry& other) const {
    const int keys = label->first.compare(other.label->first);
    return keys != 0 ? keys : label->second.compare(other.label->second);
  }
};
using LabelSet = absl::btree_set<LabelEntry, ByKeyNewestFirst<LabelEntry>>;

struct NameEntry {
  const std::string* name;
  const JobRecord* job;

  int Compare(const NameEntry& other) const { return name->compare(*other.name); }
};
using NameSet = absl::btree_set<NameEntry, ByKeyNewestFirst<NameEntry>>;

struct TimeEntry {
  int64_t nanos;
  const JobRecord* job;

  int Compare(const TimeEntry& other) const { return nanos < other.nanos ? -1 : nanos > other.nanos ? 1 : 0; }
};
using TimeSet = absl::btree_set<TimeEntry, ByKeyNewestFirst<TimeEntry>>;

}  // namespace jobpool
