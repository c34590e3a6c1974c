#include "server/process/program_failure.h"

#include <algorithm>
#include <csignal>
#include <cstring>
#include <initializer_list>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "server/job/validation.h"

namespace jobpool {
namespace {

constexpr size_t kMaxLines = 5;
constexpr size_t kMaxBytes = 500;

// A limit, by its name in the error, and what is to be said of it.
struct Limit {
  absl::string_view name;
  std::string text;
};

// What programs say when a call was refused for a limit: the texts of strerror(3) and of common runtimes.
// That they were killed for it nobody tells: memory is refused, not taken.
Limit LimitByWords(const Fences& fences, absl::string_view words) {
  const std::string lower = absl::AsciiStrToLower(words);
  const auto any = [&](std::initializer_list<absl::string_view> texts) {
    return std::any_of(texts.begin(), texts.end(),
                       [&](absl::string_view text) { return absl::StrContains(lower, text); });
  };
  if (fences.memory_bytes > 0 && any({"cannot allocate memory", "memoryerror", "bad_alloc", "out of memory",
                                      "memory exhausted", "failed to map segment"})) {
    return {"memory",
            absl::StrCat("it says that memory was refused: its limit is ", fences.memory_bytes, " bytes")};
  }
  if (fences.file_bytes > 0 && any({"file too large", "file size limit exceeded"})) {
    return {"file_size",
            absl::StrCat("it says that a file is too large: its limit is ", fences.file_bytes, " bytes")};
  }
  if (fences.open_files > 0 && any({"too many open files"})) {
    return {"open_files", absl::StrCat("it says that too many files are open: its limit is ",
                                       fences.open_files, " descriptors")};
  }
  return {};
}

Limit LimitOf(const ProgramEnd& end, const Fences& fences, absl::string_view words) {
  const absl::Duration cpu = end.usage.user_cpu_time + end.usage.system_cpu_time;
  const bool cpu_used = fences.cpu_seconds > 0 && cpu >= absl::Seconds(fences.cpu_seconds);
  if (fences.cpu_seconds > 0 && (end.signal == SIGXCPU || (end.signal == SIGKILL && cpu_used))) {
    return {"cpu", absl::StrCat("it reached its limit of ", fences.cpu_seconds, " s of CPU time")};
  }
  if (fences.file_bytes > 0 && end.signal == SIGXFSZ) {
    return {"file_size", absl::StrCat("a file reached its limit of ", fences.file_bytes, " bytes")};
  }
  return LimitByWords(fences, words);
}

std::string HowItEnded(const ProgramEnd& end) {
  if (end.signal == 0) return absl::StrCat("exit status ", end.exit_status);
  const char* const name = sigabbrev_np(end.signal);
  return absl::StrCat("ended by signal ", end.signal,
                      name != nullptr ? absl::StrCat(" (SIG", name, ")") : "");
}

// Each byte that is no part of printable text is a ?.
std::string PrintableLine(absl::string_view bytes) {
  std::string line;
  while (!bytes.empty()) {
    size_t length = 1;
    while (length <= std::min<size_t>(4, bytes.size()) &&
           !CountPrintable(bytes.substr(0, length)).has_value()) {
      ++length;
    }
    if (length > std::min<size_t>(4, bytes.size())) {
      line.push_back(bytes[0] == '\t' ? ' ' : '?');
      length = 1;
    } else {
      absl::StrAppend(&line, bytes.substr(0, length));
    }
    bytes.remove_prefix(length);
  }
  return line;
}

}  // namespace

std::string LastLines(absl::string_view bytes) {
  if (bytes.size() > kMaxBytes) {
    bytes.remove_prefix(bytes.size() - kMaxBytes);
    // From a character's beginning on.
    while (!bytes.empty() && (static_cast<unsigned char>(bytes.front()) & 0xc0) == 0x80)
      bytes.remove_prefix(1);
  }
  std::vector<std::string> lines;
  for (absl::string_view line : absl::StrSplit(bytes, absl::ByAnyChar("\r\n"))) {
    line = absl::StripAsciiWhitespace(line);
    if (!line.empty()) lines.push_back(PrintableLine(line));
  }
  if (lines.size() > kMaxLines) lines.erase(lines.begin(), lines.end() - kMaxLines);
  return absl::StrJoin(lines, " | ");
}

ProgramFailure FailureOf(const ProgramEnd& end, const Fences& fences, absl::string_view last_words) {
  if (!end.failure.empty()) return {absl::StrCat("how it ended is not known: ", end.failure), ""};
  const Limit limit = LimitOf(end, fences, last_words);
  std::string text = HowItEnded(end);
  if (!limit.text.empty()) absl::StrAppend(&text, ": ", limit.text);
  if (const std::string lines = LastLines(last_words); !lines.empty()) {
    absl::StrAppend(&text, "; the end of its stderr: ", lines);
  }
  return {std::move(text), std::string(limit.name)};
}

}  // namespace jobpool
