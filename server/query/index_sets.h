#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include "absl/container/btree_set.h"
#include "absl/hash/hash.h"
#include "absl/strings/string_view.h"
#include "server/job/job_record.h"
#include "server/query/job_order.h"

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

/// A label by its hashes, for to be equal is all that is asked of one: a comparison of the texts would be a
/// look at a record's memory. Others may have the same: who finds a job by its label compares.
struct LabelEntry {
  LabelEntry(absl::string_view key, absl::string_view value, const JobRecord* of)
      : hash(FirstOf(key) | static_cast<uint32_t>(absl::HashOf(key, value))),
        create_nanos(of != nullptr ? NanosOf(of->create_time) : 0),
        job(of) {}

  /// The least `hash` of those with this key; that of the others has other upper 32 bits.
  static uint64_t FirstOf(absl::string_view key) { return uint64_t{absl::HashOf(key)} << 32; }

  int CompareKey(const LabelEntry& other) const { return hash < other.hash ? -1 : hash > other.hash ? 1 : 0; }
  int Compare(const LabelEntry& other) const {
    const int keys = CompareKey(other);
    return keys != 0 ? keys : Age().Compare(other.Age());
  }
  AgeEntry Age() const { return {create_nanos, job}; }

  uint64_t hash;
  int64_t create_nanos;
  const JobRecord* job;
};
using LabelSet = absl::btree_set<LabelEntry, ByKeyNewestFirst<LabelEntry>>;

struct NameEntry {
  const std::string* name;
  const JobRecord* job;

  int CompareKey(const NameEntry& other) const { return name->compare(*other.name); }
  int Compare(const NameEntry& other) const { return CompareKey(other); }
  AgeEntry Age() const { return {NanosOf(job->create_time), job}; }
};
using NameSet = absl::btree_set<NameEntry, ByKeyNewestFirst<NameEntry>>;

struct TimeEntry {
  int64_t nanos;
  const JobRecord* job;

  int Compare(const TimeEntry& other) const { return nanos < other.nanos ? -1 : nanos > other.nanos ? 1 : 0; }
};
using TimeSet = absl::btree_set<TimeEntry, ByKeyNewestFirst<TimeEntry>>;

}  // namespace jobpool
