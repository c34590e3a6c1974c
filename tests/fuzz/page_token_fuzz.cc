// Page tokens: there and back; not for another list; not after a byte was changed.

#include <fuzzer/FuzzedDataProvider.h>
#include <optional>
#include <string>

#include "server/service/page_token.h"
#include "tests/fuzz/check.h"

namespace jobpool {
namespace {

void CheckToken(const std::string& list, const std::string& token) {
  const std::optional<std::string> position = ReadPageToken(list, token);
  if (!position.has_value()) return;
  FUZZ_CHECK(ReadPageToken(list, MakePageToken(list, *position)) == position);
  FUZZ_CHECK(!ReadPageToken(list + "x", token).has_value());
}

void CheckPosition(const std::string& list, const std::string& other_list, const std::string& position,
                   size_t at, char change) {
  std::string token = MakePageToken(list, position);
  FUZZ_CHECK(ReadPageToken(list, token) == position);
  if (other_list != list) FUZZ_CHECK(!ReadPageToken(other_list, token).has_value());
  FUZZ_CHECK(!ReadPageToken(list, token.substr(0, at % token.size())).has_value());
  // Base64's last character may hold bits that mean nothing.
  token[at % token.size()] = static_cast<char>(token[at % token.size()] ^ change);
  const std::optional<std::string> changed = ReadPageToken(list, token);
  FUZZ_CHECK(!changed.has_value() || changed == position);
}

}  // namespace
}  // namespace jobpool

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  FuzzedDataProvider data(bytes, size);
  const std::string list = data.ConsumeRandomLengthString(100);
  if (data.ConsumeBool()) {
    jobpool::CheckToken(list, data.ConsumeRemainingBytesAsString());
  } else {
    const std::string other_list = data.ConsumeRandomLengthString(100);
    const auto at = data.ConsumeIntegral<size_t>();
    const char change = data.ConsumeIntegral<char>();
    jobpool::CheckPosition(list, other_list, data.ConsumeRemainingBytesAsString(), at, change);
  }
  return 0;
}
