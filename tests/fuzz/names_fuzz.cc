// Names, ids, display names and labels, against the contract's patterns and the C library's idea of UTF-8.

#include <algorithm>
#include <fuzzer/FuzzedDataProvider.h>
#include <regex>
#include <string>

#include "absl/strings/match.h"
#include "google/rpc/error_details.pb.h"
#include "server/job/bounds.h"
#include "server/job/resource_name.h"
#include "server/job/validation.h"
#include "tests/fuzz/check.h"
#include "tests/fuzz/utf8_oracle.h"

namespace jobpool {
namespace {

// std::regex recurses as deep as the text is long; what these match is shorter.
bool Matches(const std::string& text, const std::regex& pattern) {
  return text.size() < 200 && std::regex_match(text, pattern);
}

bool IsId(const std::string& text) {
  static const std::regex pattern("[a-z]([a-z0-9-]{0,61}[a-z0-9])?");
  return Matches(text, pattern);
}

bool IsLabelKey(const std::string& text) {
  static const std::regex pattern("[a-z][a-z0-9_-]{0,62}");
  return Matches(text, pattern);
}

bool IsPrintable(const std::string& text, size_t min, size_t max) {
  const std::optional<std::u32string> characters = DecodeUtf8(text);
  return characters.has_value() && characters->size() >= min && characters->size() <= max &&
         std::none_of(characters->begin(), characters->end(),
                      [](char32_t c) { return c < 0x20 || (c >= 0x7f && c < 0xa0); });
}

// What is told to a caller travels in protobuf's strings: only UTF-8 does.
void CheckTellable(const Violations& violations) {
  const absl::Status status = violations.ToStatus();
  FUZZ_CHECK(IsUtf8(absl::string_view(status.message())));
  status.ForEachPayload([](absl::string_view url, const absl::Cord& payload) {
    if (!absl::EndsWith(url, "/google.rpc.BadRequest")) return;
    google::rpc::BadRequest details;
    FUZZ_CHECK(details.ParseFromString(std::string(payload)));
    for (const auto& violation : details.field_violations()) {
      FUZZ_CHECK(IsUtf8(violation.field()));
      FUZZ_CHECK(IsUtf8(violation.description()));
    }
  });
}

void CheckNames(const std::string& text, uint64_t number) {
  FUZZ_CHECK(IsResourceId(text) == IsId(text));
  const std::optional<std::string> job = ParseJobName(text);
  FUZZ_CHECK(job.has_value() == (absl::StartsWith(text, "jobs/") && IsId(text.substr(5))));
  if (job.has_value()) FUZZ_CHECK(JobName(*job) == text);
  const std::optional<std::string> pool = ParsePoolName(text);
  FUZZ_CHECK(pool.has_value() == (absl::StartsWith(text, "pools/") && IsId(text.substr(6))));
  if (pool.has_value()) FUZZ_CHECK(PoolName(*pool) == text);
  const std::optional<uint64_t> thread = ParseThreadName(text);
  if (thread.has_value() && *thread != kNoThread) FUZZ_CHECK(ThreadName(*thread) == text);
  FUZZ_CHECK(ParseThreadName(ThreadName(number)) == number);
  // The same text as an id.
  FUZZ_CHECK(ParseJobName(JobName(text)).has_value() == IsId(text));
  FUZZ_CHECK(ParsePoolName(PoolName(text)).has_value() == IsId(text));
  Violations violations;
  CheckJobId(text, "job_id", violations);
  FUZZ_CHECK(violations.empty() == IsId(text));
  CheckTellable(violations);
}

void CheckText(const std::string& text, size_t max_characters, size_t max_bytes) {
  Violations violations;
  CheckDisplayName(text, max_characters, "display_name", violations);
  FUZZ_CHECK(violations.empty() == IsPrintable(text, 1, max_characters));
  CheckTellable(violations);

  const absl::string_view cut = CutAtCharacter(text, max_bytes);
  FUZZ_CHECK(cut.data() == text.data() && cut.size() <= std::min(max_bytes, text.size()));
  const std::optional<std::u32string> characters = DecodeUtf8(text);
  if (!characters.has_value()) return;
  const std::optional<std::u32string> kept = DecodeUtf8(cut);
  FUZZ_CHECK(kept.has_value());
  if (kept->size() == characters->size()) return;
  // The next character would not have fitted.
  const char32_t next = (*characters)[kept->size()];
  const size_t bytes = next < 0x80 ? 1 : next < 0x800 ? 2 : next < 0x10000 ? 3 : 4;
  FUZZ_CHECK(cut.size() + bytes > max_bytes);
}

void CheckLabelsOf(FuzzedDataProvider& data) {
  Labels labels;
  bool good = true;
  while (data.remaining_bytes() > 0 && labels.size() < kMaxLabels + 2) {
    const std::string key = data.ConsumeRandomLengthString(80);
    const std::string value = data.ConsumeRandomLengthString(300);
    labels.emplace_back(key, value);
    good = good && IsLabelKey(key) && IsPrintable(value, 0, kMaxLabelValueCharacters);
  }
  Violations violations;
  CheckLabels(labels, "labels", violations);
  FUZZ_CHECK(violations.empty() == (good && labels.size() <= kMaxLabels));
  CheckTellable(violations);
}

}  // namespace
}  // namespace jobpool

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  FuzzedDataProvider data(bytes, size);
  switch (data.ConsumeIntegralInRange<int>(0, 2)) {
    case 0: {
      const auto number = data.ConsumeIntegral<uint64_t>();
      jobpool::CheckNames(data.ConsumeRemainingBytesAsString(), number);
      break;
    }
    case 1: {
      const auto max_characters = data.ConsumeIntegralInRange<size_t>(1, 128);
      const auto max_bytes = data.ConsumeIntegralInRange<size_t>(0, 80);
      jobpool::CheckText(data.ConsumeRemainingBytesAsString(), max_characters, max_bytes);
      break;
    }
    default:
      jobpool::CheckLabelsOf(data);
  }
  return 0;
}
