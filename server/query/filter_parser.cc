#include "server/query/filter_parser.h"

#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "server/base/status_macros.h"
#include "server/job/bounds.h"
#include "server/job/resource_name.h"
#include "server/job/validation.h"

namespace jobpool {
namespace {

using Operator = Comparison::Operator;

constexpr int kMaxDepth = 32;
constexpr size_t kMaxShownBytes = 80;

bool IsBlank(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }
bool IsNameCharacter(char c) { return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '_'; }
bool EndsBareValue(char c) {
  return IsBlank(c) || absl::string_view("()\"'=<>!").find(c) != absl::string_view::npos;
}

bool IsOrdered(Operator op) { return op >= Operator::kLess && op <= Operator::kGreaterEqual; }

std::string Shown(absl::string_view text) {
  return absl::StrCat("\"", absl::StrReplaceAll(CutAtCharacter(text, kMaxShownBytes), {{"\"", "\\\""}}),
                      "\"");
}

bool IsDigits(absl::string_view text, size_t from, size_t count) {
  if (text.size() < from + count) return false;
  for (const unsigned char c : text.substr(from, count)) {
    if (!absl::ascii_isdigit(c)) return false;
  }
  return true;
}

// RFC 3339 with up to 9 digits of a second. absl::ParseTime alone takes more than that.
std::optional<absl::Time> ReadTime(absl::string_view text) {
  if (!IsDigits(text, 0, 4) || !IsDigits(text, 5, 2) || !IsDigits(text, 8, 2) || !IsDigits(text, 11, 2) ||
      !IsDigits(text, 14, 2) || !IsDigits(text, 17, 2) || text[4] != '-' || text[7] != '-' ||
      text[13] != ':' || text[16] != ':') {
    return std::nullopt;
  }
  size_t zone = 19;
  if (zone < text.size() && text[zone] == '.') {
    do {
      ++zone;
    } while (IsDigits(text, zone, 1));
    if (zone > 29) return std::nullopt;
  }
  const absl::string_view offset = text.substr(zone);
  const bool is_utc = offset == "Z" || offset == "z";
  if (!is_utc && (offset.size() != 6 || (offset[0] != '+' && offset[0] != '-') || !IsDigits(offset, 1, 2) ||
                  offset[3] != ':' || !IsDigits(offset, 4, 2))) {
    return std::nullopt;
  }
  absl::Time time;
  std::string error;
  if (!absl::ParseTime(absl::RFC3339_full, absl::AsciiStrToUpper(text), &time, &error)) return std::nullopt;
  return time;
}

std::optional<JobState> StateNamed(absl::string_view name) {
  for (int i = 0; i <= static_cast<int>(JobState::kCancelled); ++i) {
    if (JobStateName(static_cast<JobState>(i)) == name) return static_cast<JobState>(i);
  }
  return std::nullopt;
}

std::optional<Kind> KindNamed(absl::string_view name) {
  for (size_t i = 0; i < kKindCount; ++i) {
    if (KindName(static_cast<Kind>(i)) == name) return static_cast<Kind>(i);
  }
  return std::nullopt;
}

// The grammar of AIP-160: OR binds tighter than AND, which need not be written.
class Parser {
 public:
  explicit Parser(absl::string_view text) : text_(text) {}

  absl::StatusOr<FilterNode> Run() {
    SkipBlanks();
    if (AtEnd()) return FilterNode();
    JOBPOOL_ASSIGN_OR_RETURN(FilterNode node, Expression(0));
    if (!AtEnd()) return Error(at_, "\")\" without \"(\"");
    return node;
  }

 private:
  struct Value {
    size_t at = 0;
    std::string text;
    bool has_star = false;  // one that is not escaped, before the end
    bool ends_with_star = false;
  };

  absl::StatusOr<FilterNode> Expression(int depth) {
    FilterNode all;
    for (;;) {
      JOBPOOL_ASSIGN_OR_RETURN(FilterNode factor, Factor(depth));
      all.parts.push_back(std::move(factor));
      if (AtEnd() || text_[at_] == ')') return Collapsed(std::move(all));
      TakeWord("AND");
    }
  }

  absl::StatusOr<FilterNode> Factor(int depth) {
    FilterNode any;
    any.type = FilterNode::Type::kAny;
    do {
      JOBPOOL_ASSIGN_OR_RETURN(FilterNode term, Term(depth));
      any.parts.push_back(std::move(term));
      SkipBlanks();
    } while (TakeWord("OR"));
    return Collapsed(std::move(any));
  }

  absl::StatusOr<FilterNode> Term(int depth) {
    SkipBlanks();
    bool negated = TakeWord("NOT");
    if (negated) {
      SkipBlanks();
    } else if (!AtEnd() && text_[at_] == '-') {
      negated = true;
      ++at_;
    }
    JOBPOOL_ASSIGN_OR_RETURN(FilterNode simple, Simple(depth));
    if (!negated) return simple;
    FilterNode node;
    node.type = FilterNode::Type::kNot;
    node.parts.push_back(std::move(simple));
    return node;
  }

  absl::StatusOr<FilterNode> Simple(int depth) {
    if (AtEnd() || text_[at_] != '(') return OneComparison();
    const size_t opened = at_++;
    if (depth == kMaxDepth) return Error(opened, absl::StrCat("parentheses more than ", kMaxDepth, " deep"));
    JOBPOOL_ASSIGN_OR_RETURN(FilterNode node, Expression(depth + 1));
    if (AtEnd()) return Error(opened, "\"(\" without \")\"");
    ++at_;
    return node;
  }

  absl::StatusOr<FilterNode> OneComparison() {
    const size_t began = at_;
    FilterNode node;
    node.type = FilterNode::Type::kComparison;
    Comparison& comparison = node.comparison;
    const absl::string_view name = TakeName();
    if (name.empty() || name == "AND" || name == "OR" || name == "NOT") {
      return Error(began, "a field is expected here");
    }
    const std::optional<JobField> field = JobFieldNamed(name);
    if (!field.has_value()) return Error(began, absl::StrCat("there is no field ", Shown(name)));
    if (++comparisons_ > kMaxFilterComparisons) {
      return Error(began, absl::StrCat("more than ", kMaxFilterComparisons, " comparisons"));
    }
    comparison.field = *field;
    const bool has_key = !AtEnd() && text_[at_] == '.';
    if (has_key) {
      if (*field != JobField::kLabels) return Error(at_, absl::StrCat(name, " has no fields"));
      ++at_;
      JOBPOOL_ASSIGN_OR_RETURN(comparison.key, TakeLabelKey());
    }
    SkipBlanks();
    const size_t operator_at = at_;
    const absl::string_view symbol = TakeOperator();
    if (symbol.empty()) {
      return Error(operator_at, absl::StrCat("an operator is expected after ", Shown(name)));
    }
    SkipBlanks();
    JOBPOOL_ASSIGN_OR_RETURN(const Value value, TakeValue());
    if (*field == JobField::kLabels && !has_key) {
      if (symbol != ":") return Error(operator_at, "labels takes only \":\"; labels.KEY takes =, != and :");
      if (value.has_star || value.ends_with_star || !IsLabelKey(value.text)) {
        return Error(value.at, "a label's key matches [a-z][a-z0-9_-]{0,62}");
      }
      comparison.key = value.text;
      comparison.op = Operator::kPresent;
    } else {
      JOBPOOL_RETURN_IF_ERROR(Complete(symbol, operator_at, value, comparison));
    }
    return node;
  }

  absl::StatusOr<std::string> TakeLabelKey() {
    const size_t began = at_;
    std::string key;
    if (!AtEnd() && (text_[at_] == '"' || text_[at_] == '\'')) {
      JOBPOOL_ASSIGN_OR_RETURN(const Value quoted, TakeQuoted());
      if (!quoted.has_star && !quoted.ends_with_star) key = quoted.text;
    } else {
      while (!AtEnd() && (IsNameCharacter(text_[at_]) || text_[at_] == '-')) ++at_;
      key = std::string(text_.substr(began, at_ - began));
    }
    if (!IsLabelKey(key)) return Error(began, "a label's key matches [a-z][a-z0-9_-]{0,62}");
    return key;
  }

  absl::Status Complete(absl::string_view symbol, size_t operator_at, const Value& value,
                        Comparison& comparison) {
    const JobField field = comparison.field;
    if (symbol == ":") return CompleteHas(operator_at, value, comparison);
    comparison.op = symbol == "="    ? Operator::kEqual
                    : symbol == "!=" ? Operator::kNotEqual
                    : symbol == "<"  ? Operator::kLess
                    : symbol == "<=" ? Operator::kLessEqual
                    : symbol == ">"  ? Operator::kGreater
                                     : Operator::kGreaterEqual;
    if (IsOrdered(comparison.op) && field != JobField::kPriority && !IsTime(field)) {
      return Error(operator_at, absl::StrCat(JobFieldName(field), " does not take ", symbol));
    }
    if (value.has_star || (value.ends_with_star && field != JobField::kDisplayName)) {
      return Error(value.at,
                   "\"*\" stands only at the end of a display_name; \"\\*\" in quotes means itself");
    }
    if (value.ends_with_star) {
      comparison.op = comparison.op == Operator::kEqual ? Operator::kPrefix : Operator::kNotPrefix;
    }
    return SetValue(value, comparison);
  }

  absl::Status CompleteHas(size_t operator_at, const Value& value, Comparison& comparison) {
    const JobField field = comparison.field;
    if (value.text.empty() && value.ends_with_star) {
      if (field < JobField::kDisplayName) {
        return Error(operator_at, absl::StrCat(JobFieldName(field), " does not take :"));
      }
      comparison.op = Operator::kPresent;
      return absl::OkStatus();
    }
    if (field != JobField::kDisplayName && field != JobField::kLabels) {
      return Error(operator_at, absl::StrCat(JobFieldName(field), " does not take :",
                                             field < JobField::kDisplayName ? "" : " with a value, only :*"));
    }
    if (value.has_star || value.ends_with_star) {
      return Error(value.at, "\"*\" stands here alone; \"\\*\" in quotes means itself");
    }
    comparison.op = field == JobField::kLabels ? Operator::kEqual : Operator::kContains;
    comparison.text = value.text;
    return absl::OkStatus();
  }

  absl::Status SetValue(const Value& value, Comparison& comparison) const {
    const std::string& text = value.text;
    switch (comparison.field) {
      case JobField::kState: {
        const std::optional<JobState> state = StateNamed(text);
        if (!state.has_value()) return Error(value.at, absl::StrCat("there is no state ", Shown(text)));
        comparison.number = static_cast<int64_t>(*state);
        return absl::OkStatus();
      }
      case JobField::kKind: {
        const std::optional<Kind> kind = KindNamed(text);
        if (!kind.has_value()) return Error(value.at, absl::StrCat("there is no kind ", Shown(text)));
        comparison.number = static_cast<int64_t>(*kind);
        return absl::OkStatus();
      }
      case JobField::kPriority:
        if (!absl::SimpleAtoi(text, &comparison.number))
          return Error(value.at, "a whole number is expected here");
        return absl::OkStatus();
      case JobField::kDaemon:
        if (text != "true" && text != "false") return Error(value.at, "true or false is expected here");
        comparison.number = text == "true";
        return absl::OkStatus();
      case JobField::kPool:
      case JobField::kRetryOf: {
        const bool is_pool = comparison.field == JobField::kPool;
        const std::optional<std::string> id = is_pool ? ParsePoolName(text) : ParseJobName(text);
        if (!id.has_value() && !IsResourceId(text)) {
          return Error(value.at, absl::StrCat("a name of the form ", is_pool ? "pools/{pool}" : "jobs/{id}",
                                              ", or what follows there, is expected here"));
        }
        comparison.text = id.value_or(text);
        return absl::OkStatus();
      }
      case JobField::kDisplayName:
      case JobField::kLabels:
        comparison.text = text;
        return absl::OkStatus();
      default: {
        const std::optional<absl::Time> time = ReadTime(text);
        if (!time.has_value()) {
          return Error(value.at, "a time of RFC 3339 is expected here, like \"2026-01-31T12:00:00Z\"");
        }
        comparison.time = *time;
        return absl::OkStatus();
      }
    }
  }

  absl::StatusOr<Value> TakeValue() {
    const size_t began = at_;
    Value value;
    if (!AtEnd() && (text_[at_] == '"' || text_[at_] == '\'')) {
      JOBPOOL_ASSIGN_OR_RETURN(value, TakeQuoted());
    } else {
      while (!AtEnd() && !EndsBareValue(text_[at_])) AddCharacter(value);
      const absl::string_view bare = text_.substr(began, at_ - began);
      if (bare.empty() || bare == "AND" || bare == "OR" || bare == "NOT") {
        return Error(began, "a value is expected here");
      }
    }
    value.at = began;
    if (!AtEnd() && !IsBlank(text_[at_]) && text_[at_] != ')') {
      return Error(at_, "a blank is expected after a value");
    }
    return value;
  }

  absl::StatusOr<Value> TakeQuoted() {
    const size_t began = at_;
    const char quote = text_[at_++];
    Value value;
    while (!AtEnd() && text_[at_] != quote) {
      if (text_[at_] == '\\') {
        if (++at_ == text_.size()) break;
        if (absl::string_view("\"'\\*").find(text_[at_]) == absl::string_view::npos) {
          return Error(at_ - 1, "\"\\\" stands only before \", ', \\ and *");
        }
        AddLiteral(value, text_[at_++]);
      } else if (IsBlank(text_[at_]) && text_[at_] != ' ') {
        return Error(at_, "a control character");
      } else {
        AddCharacter(value);
      }
    }
    if (AtEnd()) return Error(began, "a quote that is not closed");
    ++at_;
    return value;
  }

  // The next character of a value, where "*" has a meaning.
  void AddCharacter(Value& value) {
    const char c = text_[at_++];
    if (c != '*') {
      AddLiteral(value, c);
      return;
    }
    if (value.ends_with_star) value.has_star = true;
    value.ends_with_star = true;
  }

  static void AddLiteral(Value& value, char c) {
    value.has_star = value.has_star || std::exchange(value.ends_with_star, false);
    value.text += c;
  }

  absl::string_view TakeName() {
    const size_t began = at_;
    while (!AtEnd() && IsNameCharacter(text_[at_])) ++at_;
    return text_.substr(began, at_ - began);
  }

  absl::string_view TakeOperator() {
    const absl::string_view left = text_.substr(at_);
    for (const absl::string_view symbol : {"!=", "<=", ">=", "<", ">", "=", ":"}) {
      if (!absl::StartsWith(left, symbol)) continue;
      at_ += symbol.size();
      return symbol;
    }
    return "";
  }

  bool TakeWord(absl::string_view word) {
    if (!absl::StartsWith(text_.substr(at_), word)) return false;
    const size_t end = at_ + word.size();
    if (end < text_.size() && text_[end] != '(' && !IsBlank(text_[end])) return false;
    at_ = end;
    return true;
  }

  void SkipBlanks() {
    while (!AtEnd() && IsBlank(text_[at_])) ++at_;
  }

  bool AtEnd() const { return at_ == text_.size(); }

  absl::Status Error(size_t at, absl::string_view what) const {
    size_t character = 1;
    for (const char c : text_.substr(0, at)) character += (static_cast<unsigned char>(c) & 0xc0) != 0x80;
    return absl::InvalidArgumentError(absl::StrCat("at character ", character, ": ", what));
  }

  static FilterNode Collapsed(FilterNode node) {
    if (node.parts.size() != 1) return node;
    FilterNode only = std::move(node.parts.front());
    return only;
  }

  const absl::string_view text_;
  size_t at_ = 0;
  int comparisons_ = 0;
};

}  // namespace

absl::StatusOr<FilterNode> ParseFilter(absl::string_view text) {
  const std::string without_breaks = absl::StrReplaceAll(text, {{"\t", " "}, {"\n", " "}, {"\r", " "}});
  const std::optional<size_t> characters = CountPrintable(without_breaks);
  if (!characters.has_value()) return absl::InvalidArgumentError("must be UTF-8 without control characters");
  if (*characters > kMaxFilterCharacters) {
    return absl::InvalidArgumentError(
        absl::StrCat("must be at most ", kMaxFilterCharacters, " characters, has ", *characters));
  }
  return Parser(text).Run();
}

}  // namespace jobpool
