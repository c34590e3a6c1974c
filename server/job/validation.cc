#include "server/job/validation.h"

#include <optional>
#include <variant>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "server/job/resource_name.h"

namespace jobpool {
namespace {

constexpr size_t kMaxViolations = 100;

size_t Bytes(const NamedValues& values) {
  size_t bytes = 0;
  for (const auto& [name, value] : values) bytes += name.size() + value.size();
  return bytes;
}

// What a program may be given of any kind; which values its command takes is for the server's list to say.
void CheckCommand(const CommandCall& call, absl::string_view path, Violations& violations) {
  const auto at = [&](absl::string_view field) { return absl::StrCat(path, ".", field); };
  CheckPayload(call.input, at("stdin"), violations);
  if (call.arguments.size() > kMaxCommandArguments) {
    violations.Add(at("arguments"),
                   absl::StrCat("must be at most ", kMaxCommandArguments, ", are ", call.arguments.size()));
  }
  if (call.environment.size() > kMaxCommandEnvironment) {
    violations.Add(at("environment"), absl::StrCat("must be at most ", kMaxCommandEnvironment, ", are ",
                                                   call.environment.size()));
  }
  if (const size_t bytes = Bytes(call.arguments) + Bytes(call.environment); bytes > kMaxCommandBytes) {
    violations.Add(at("arguments"), absl::StrCat("must have at most ", kMaxCommandBytes,
                                                 " bytes, with the environment, have ", bytes));
  }
}

// How many bytes the character takes that `text` begins with; 0: it is malformed, or a control character.
// REQUIRES: !text.empty()
size_t PrintableBytes(absl::string_view text) {
  const auto lead = static_cast<unsigned char>(text[0]);
  const size_t length = lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
  if ((lead >= 0x80 && lead < 0xc2) || lead > 0xf4 || length > text.size()) return 0;
  char32_t point = length == 1 ? lead : lead & (0x7f >> length);
  for (size_t k = 1; k < length; ++k) {
    const auto next = static_cast<unsigned char>(text[k]);
    if ((next & 0xc0) != 0x80) return 0;
    point = (point << 6) | (next & 0x3f);
  }
  const bool overlong = (length == 3 && point < 0x800) || (length == 4 && point < 0x10000);
  const bool surrogate = point >= 0xd800 && point <= 0xdfff;
  const bool control = point < 0x20 || (point >= 0x7f && point < 0xa0);
  return overlong || surrogate || control || point > 0x10ffff ? 0 : length;
}

}  // namespace

std::string Shown(absl::string_view text) {
  if (!CountPrintable(text).has_value()) return "(not printable)";
  return absl::StrCat("\"", CutAtCharacter(text, 80), "\"");
}

std::optional<size_t> CountPrintable(absl::string_view text) {
  size_t count = 0;
  for (size_t i = 0; i < text.size(); ++count) {
    const size_t length = PrintableBytes(text.substr(i));
    if (length == 0) return std::nullopt;
    i += length;
  }
  return count;
}

std::string PrintableText(absl::string_view text, size_t max_bytes) {
  text = CutAtCharacter(text, max_bytes);
  std::string printable;
  printable.reserve(text.size());
  while (!text.empty()) {
    const size_t length = PrintableBytes(text);
    if (length == 0) {
      printable += absl::ascii_isspace(static_cast<unsigned char>(text.front())) ? ' ' : '?';
    } else {
      absl::StrAppend(&printable, text.substr(0, length));
    }
    text.remove_prefix(length == 0 ? 1 : length);
  }
  return printable;
}

bool IsLabelKey(absl::string_view key) {
  if (key.empty() || key.size() > kMaxLabelKeyBytes || !absl::ascii_islower(key.front())) return false;
  for (const unsigned char c : key) {
    if (!absl::ascii_islower(c) && !absl::ascii_isdigit(c) && c != '_' && c != '-') return false;
  }
  return true;
}

void Violations::Add(absl::string_view field, absl::string_view description) {
  if (violations_.size() < kMaxViolations) {
    violations_.push_back({std::string(field), std::string(description)});
  }
}

absl::Status Violations::ToStatus() const {
  return violations_.empty() ? absl::OkStatus() : InvalidFieldsError(violations_);
}

void CheckDisplayName(absl::string_view value, size_t max_characters, absl::string_view field,
                      Violations& violations) {
  const std::optional<size_t> count = CountPrintable(value);
  if (!count.has_value()) {
    violations.Add(field, "must be UTF-8 without control characters");
  } else if (*count < 1 || *count > max_characters) {
    violations.Add(field, absl::StrCat("must be 1 to ", max_characters, " characters, has ", *count));
  }
}

void CheckJobId(absl::string_view value, absl::string_view field, Violations& violations) {
  if (!IsResourceId(value)) violations.Add(field, "must match [a-z]([a-z0-9-]{0,61}[a-z0-9])?");
}

void CheckLabels(const Labels& labels, absl::string_view field, Violations& violations) {
  if (labels.size() > kMaxLabels) {
    violations.Add(field, absl::StrCat("must be at most ", kMaxLabels, " labels, are ", labels.size()));
    return;
  }
  for (const auto& [key, value] : labels) {
    if (!IsLabelKey(key)) {
      violations.Add(field, absl::StrCat("key ", Shown(key), " must match [a-z][a-z0-9_-]{0,62}"));
      continue;
    }
    const std::optional<size_t> count = CountPrintable(value);
    if (!count.has_value()) {
      violations.Add(absl::StrCat(field, ".", key), "must be UTF-8 without control characters");
    } else if (*count > kMaxLabelValueCharacters) {
      violations.Add(absl::StrCat(field, ".", key),
                     absl::StrCat("must be at most ", kMaxLabelValueCharacters, " characters, has ", *count));
    }
  }
}

void CheckRange(int64_t value, int64_t min, int64_t max, absl::string_view field, Violations& violations) {
  if (value < min || value > max) {
    violations.Add(field, absl::StrCat("must be ", min, " to ", max, ", is ", value));
  }
}

void CheckRange(absl::Duration value, absl::Duration max, absl::string_view field, Violations& violations) {
  if (value < absl::ZeroDuration() || value > max) {
    violations.Add(field, absl::StrCat("must be 0 to ", absl::FormatDuration(max), ", is ",
                                       absl::FormatDuration(value)));
  }
}

void CheckRealRange(double value, double min, double max, absl::string_view field, Violations& violations) {
  if (!(value >= min && value <= max)) {
    violations.Add(field, absl::StrCat("must be ", min, " to ", max, ", is ", value));
  }
}

void CheckPayload(absl::string_view payload, absl::string_view field, Violations& violations) {
  if (payload.size() > kMaxPayloadBytes) {
    violations.Add(field, absl::StrCat("must be at most ", kMaxPayloadBytes, " bytes, has ", payload.size()));
  }
}

void CheckWork(const Work& work, absl::string_view prefix, Violations& violations) {
  const auto path = [&](absl::string_view field) { return absl::StrCat(prefix, ".", field); };
  struct Checker {
    const decltype(path)& at;
    Violations& out;
    void operator()(const SleepWork& w) { CheckRange(w.duration, kMaxSleep, at("sleep.duration"), out); }
    void operator()(const PrimesWork& w) {
      CheckRange(w.limit, 0, kMaxPrimesLimit, at("compute.primes.limit"), out);
    }
    void operator()(const FibonacciWork& w) {
      CheckRange(w.index, 0, kMaxFibonacciIndex, at("compute.fibonacci.index"), out);
    }
    void operator()(const PiWork& w) {
      CheckRange(w.digits, kMinPiDigits, kMaxPiDigits, at("compute.pi.digits"), out);
    }
    void operator()(const HashWork& w) {
      CheckRange(w.bytes, 0, kMaxHashBytes, at("compute.hash.bytes"), out);
    }
    void operator()(const SpinWork& w) { CheckRange(w.cpu_time, kMaxSpin, at("compute.spin.cpu_time"), out); }
    void operator()(const NoopWork& w) {
      if (w.payload != nullptr) CheckPayload(*w.payload, at("noop.payload"), out);
    }
    void operator()(const CommandWork& w) {
      if (w.call != nullptr) CheckCommand(*w.call, at("command"), out);
    }
    void operator()(const CustomWork& w) {
      CheckJobId(w.kind(), at("custom.kind"), out);  // the same names
      CheckPayload(w.payload(), at("custom.payload"), out);
    }
  };
  std::visit(Checker{path, violations}, work);
}

absl::string_view CutAtCharacter(absl::string_view text, size_t max_bytes) {
  if (text.size() <= max_bytes) return text;
  // Back to a byte that begins a character (not 10xxxxxx).
  while (max_bytes > 0 && (static_cast<unsigned char>(text[max_bytes]) & 0xc0) == 0x80) --max_bytes;
  return text.substr(0, max_bytes);
}

}  // namespace jobpool
