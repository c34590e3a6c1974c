#include "server/job/resource_name.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "server/job/bounds.h"

namespace jobpool {
namespace {

bool IsIdCharacter(unsigned char c) { return absl::ascii_islower(c) || absl::ascii_isdigit(c) || c == '-'; }

std::optional<std::string> ParseName(absl::string_view collection, absl::string_view name) {
  if (!absl::ConsumePrefix(&name, collection) || !IsResourceId(name)) return std::nullopt;
  return std::string(name);
}

}  // namespace

bool IsResourceId(absl::string_view id) {
  if (id.empty() || id.size() > kMaxIdBytes || !absl::ascii_islower(id.front()) || id.back() == '-') {
    return false;
  }
  return std::all_of(id.begin(), id.end(), IsIdCharacter);
}

std::string JobName(absl::string_view id) { return absl::StrCat("jobs/", id); }
std::string PoolName(absl::string_view id) { return absl::StrCat("pools/", id); }
std::string ThreadName(uint64_t id) { return absl::StrCat("threads/", id); }

std::optional<std::string> ParseJobName(absl::string_view name) { return ParseName("jobs/", name); }
std::optional<std::string> ParsePoolName(absl::string_view name) { return ParseName("pools/", name); }

std::optional<uint64_t> ParseThreadName(absl::string_view name) {
  if (!absl::ConsumePrefix(&name, "threads/") || name.empty() || name.size() > kMaxIdBytes ||
      !std::all_of(name.begin(), name.end(), IsIdCharacter)) {
    return std::nullopt;
  }
  uint64_t id = 0;
  // SimpleAtoi takes leading zeros, which no id has.
  if (!absl::SimpleAtoi(name, &id) || name != absl::StrCat(id)) return kNoThread;
  return id;
}

}  // namespace jobpool
