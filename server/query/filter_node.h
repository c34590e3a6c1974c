#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "server/query/job_field.h"

namespace jobpool {

/// One comparison of a filter, checked: the operator fits the field, and the value
/// is of its type.
struct Comparison {
  enum class Operator : unsigned char {
    kEqual,
    kNotEqual,
    kLess,
    kLessEqual,
    kGreater,
    kGreaterEqual,
    kPrefix,     // of display_name: begins with `text`
    kNotPrefix,  // of display_name
    kContains,   // of display_name
    kPresent,    // the job has the field
  };

  JobField field = JobField::kState;
  Operator op = Operator::kEqual;
  std::string key;     // of labels
  std::string text;    // of pool, display_name, retry_of (both without the collection) and labels
  int64_t number = 0;  // of state, kind, priority, daemon: the enum's value, 0 or 1
  absl::Time time;     // of times
};

/// A filter as a tree.
struct FilterNode {
  enum class Type : unsigned char {
    kAll,         // of no parts: true
    kAny,         // at least one of them
    kNot,         // of one part
    kComparison,  // of none
  };

  Type type = Type::kAll;
  std::vector<FilterNode> parts;
  Comparison comparison;
};

}  // namespace jobpool
