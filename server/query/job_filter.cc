#include "server/query/job_filter.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "server/base/status_macros.h"
#include "server/query/filter_parser.h"

namespace jobpool {
namespace {

using Operator = Comparison::Operator;

template <typename T>
bool Compare(Operator op, const T& a, const T& b) {
  switch (op) {
    case Operator::kEqual:
      return a == b;
    case Operator::kNotEqual:
      return a != b;
    case Operator::kLess:
      return a < b;
    case Operator::kLessEqual:
      return a <= b;
    case Operator::kGreater:
      return a > b;
    case Operator::kGreaterEqual:
      return a >= b;
    default:
      return false;
  }
}

// How a comparison with a field comes out that the job does not have.
bool OfMissing(Operator op) { return op == Operator::kNotEqual || op == Operator::kNotPrefix; }

bool HoldsOfName(const Comparison& comparison, absl::string_view name) {
  switch (comparison.op) {
    case Operator::kPrefix:
      return absl::StartsWith(name, comparison.text);
    case Operator::kNotPrefix:
      return !absl::StartsWith(name, comparison.text);
    case Operator::kContains:
      return absl::StrContains(name, comparison.text);
    case Operator::kPresent:
      return true;
    default:
      return Compare<absl::string_view>(comparison.op, name, comparison.text);
  }
}

bool HoldsOfLabel(const Comparison& comparison, const Labels& labels) {
  const auto found = std::lower_bound(
      labels.begin(), labels.end(), comparison.key,
      [](const Labels::value_type& label, const std::string& key) { return label.first < key; });
  if (found == labels.end() || found->first != comparison.key) return OfMissing(comparison.op);
  return comparison.op == Operator::kPresent || Compare(comparison.op, found->second, comparison.text);
}

bool Holds(const Comparison& comparison, const JobRecord& job) {
  switch (comparison.field) {
    case JobField::kState:
      return Compare(comparison.op, static_cast<int64_t>(job.state), comparison.number);
    case JobField::kKind:
      return Compare(comparison.op, static_cast<int64_t>(KindOf(job.work)), comparison.number);
    case JobField::kPool:
      return Compare(comparison.op, *job.pool, comparison.text);
    case JobField::kPriority:
      return Compare(comparison.op, int64_t{job.priority}, comparison.number);
    case JobField::kDaemon:
      return Compare(comparison.op, int64_t{job.daemon}, comparison.number);
    case JobField::kDisplayName:
      return HoldsOfName(comparison, job.DisplayName());
    case JobField::kRetryOf: {
      const std::string& id = job.Options().retry_of;
      if (id.empty()) return OfMissing(comparison.op);
      return comparison.op == Operator::kPresent || Compare(comparison.op, id, comparison.text);
    }
    case JobField::kLabels:
      return HoldsOfLabel(comparison, job.Options().labels);
    default: {
      const std::optional<absl::Time> time = TimeOf(comparison.field, job);
      if (!time.has_value()) return OfMissing(comparison.op);
      return comparison.op == Operator::kPresent || Compare(comparison.op, *time, comparison.time);
    }
  }
}

Truth Known(bool holds) { return holds ? Truth::kTrue : Truth::kFalse; }

Truth HoldsOfFacet(const Comparison& comparison, const Facet& facet) {
  switch (comparison.field) {
    case JobField::kState:
      return Known(Compare(comparison.op, static_cast<int64_t>(facet.state), comparison.number));
    case JobField::kKind:
      return Known(Compare(comparison.op, static_cast<int64_t>(facet.kind), comparison.number));
    case JobField::kPool:
      return Known(Compare<absl::string_view>(comparison.op, facet.pool, comparison.text));
    case JobField::kPriority:
      return Known(Compare(comparison.op, int64_t{facet.priority}, comparison.number));
    case JobField::kDaemon:
      if (!facet.daemon.has_value()) return Truth::kUnknown;
      return Known(Compare(comparison.op, int64_t{*facet.daemon}, comparison.number));
    case JobField::kEndTime:
    case JobField::kExpireTime:
      return IsEnded(facet.state) ? Truth::kUnknown : Known(OfMissing(comparison.op));
    default:
      return Truth::kUnknown;
  }
}

bool Evaluate(const FilterNode& node, const JobRecord& job) {
  const auto holds = [&job](const FilterNode& part) { return Evaluate(part, job); };
  switch (node.type) {
    case FilterNode::Type::kAll:
      return std::all_of(node.parts.begin(), node.parts.end(), holds);
    case FilterNode::Type::kAny:
      return std::any_of(node.parts.begin(), node.parts.end(), holds);
    case FilterNode::Type::kNot:
      return !holds(node.parts.front());
    case FilterNode::Type::kComparison:
      return Holds(node.comparison, job);
  }
  return false;
}

Truth EvaluateFacet(const FilterNode& node, const Facet& facet) {
  switch (node.type) {
    case FilterNode::Type::kAll: {
      Truth all = Truth::kTrue;
      for (const FilterNode& part : node.parts) all = std::min(all, EvaluateFacet(part, facet));
      return all;
    }
    case FilterNode::Type::kAny: {
      Truth any = Truth::kFalse;
      for (const FilterNode& part : node.parts) any = std::max(any, EvaluateFacet(part, facet));
      return any;
    }
    case FilterNode::Type::kNot: {
      const Truth part = EvaluateFacet(node.parts.front(), facet);
      return part == Truth::kUnknown ? part : Known(part == Truth::kFalse);
    }
    case FilterNode::Type::kComparison:
      return HoldsOfFacet(node.comparison, facet);
  }
  return Truth::kUnknown;
}

void AddTimeNeed(const Comparison& comparison, TimeBounds& bounds) {
  if (OfMissing(comparison.op)) return;
  bounds.needed = true;
  const Operator op = comparison.op;
  if (op == Operator::kEqual || op == Operator::kGreater || op == Operator::kGreaterEqual) {
    bounds.first = std::max(bounds.first, comparison.time);
  }
  if (op == Operator::kEqual || op == Operator::kLess || op == Operator::kLessEqual) {
    bounds.last = std::min(bounds.last, comparison.time);
  }
}

void AddNeeds(const FilterNode& node, FilterNeeds& needs) {
  if (node.type == FilterNode::Type::kAll) {
    for (const FilterNode& part : node.parts) AddNeeds(part, needs);
  }
  if (node.type != FilterNode::Type::kComparison) return;
  const Comparison& comparison = node.comparison;
  if (IsTime(comparison.field)) {
    AddTimeNeed(comparison, needs.Of(comparison.field));
  } else if (comparison.field == JobField::kLabels) {
    if (comparison.op == Operator::kEqual) needs.labels.emplace_back(comparison.key, comparison.text);
    if (comparison.op == Operator::kPresent) needs.label_keys.push_back(comparison.key);
  } else if (comparison.field == JobField::kDisplayName) {
    if (comparison.op == Operator::kEqual) needs.display_name = comparison.text;
    if (comparison.op == Operator::kPrefix) needs.display_name_prefix = comparison.text;
  }
}

}  // namespace

JobFilter::JobFilter() {
  static const auto* const all = new std::shared_ptr<const Tree>(std::make_shared<Tree>());
  tree_ = *all;
}

JobFilter::JobFilter(FilterNode root) {
  auto tree = std::make_shared<Tree>();
  AddNeeds(root, tree->needs);
  tree->root = std::move(root);
  tree_ = std::move(tree);
}

absl::StatusOr<JobFilter> JobFilter::Parse(absl::string_view text) {
  JOBPOOL_ASSIGN_OR_RETURN(FilterNode root, ParseFilter(text));
  return JobFilter(std::move(root));
}

bool JobFilter::Matches(const JobRecord& job) const { return Evaluate(tree_->root, job); }

Truth JobFilter::OfFacet(const Facet& facet) const { return EvaluateFacet(tree_->root, facet); }

}  // namespace jobpool
