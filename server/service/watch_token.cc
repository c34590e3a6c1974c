#include "server/service/watch_token.h"

#include <optional>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "server/job/errors.h"
#include "server/service/page_token.h"

namespace jobpool {

// Of names only a sum is kept, so that a token costs the same however many there are.
WatchTokens::WatchTokens(uint64_t epoch, const std::vector<std::string>& ids, absl::string_view filter)
    : epoch_(epoch), watch_(absl::StrCat("WatchJobs ", TokenSum(absl::StrJoin(ids, " "), filter))) {}

std::string WatchTokens::Make(uint64_t position) const {
  return MakePageToken(watch_, absl::StrCat(epoch_, " ", position));
}

absl::StatusOr<uint64_t> WatchTokens::Read(absl::string_view token) const {
  const std::optional<std::string> read = ReadPageToken(watch_, token);
  if (read.has_value()) {
    const std::pair<absl::string_view, absl::string_view> parts =
        absl::StrSplit(*read, absl::MaxSplits(' ', 1));
    uint64_t epoch = 0;
    uint64_t position = 0;
    if (absl::SimpleAtoi(parts.first, &epoch) && absl::SimpleAtoi(parts.second, &position)) {
      if (epoch != epoch_) return ResumeTokenExpiredError();
      return position;
    }
  }
  return absl::InvalidArgumentError("is not a resume_token of a watch with the same names or filter");
}

}  // namespace jobpool
