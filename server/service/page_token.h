#pragma once

#include <optional>
#include <string>

#include "absl/strings/string_view.h"

namespace jobpool {

/// 16 digits that differ, but for chance, where one of the two does; the same in every
/// process.
std::string TokenSum(absl::string_view list, absl::string_view position);

/// An opaque page token for `position` in the list that `list` describes: the
/// method, and its arguments but for the page's size and token.
std::string MakePageToken(absl::string_view list, absl::string_view position);

/// The position, if `token` is one that MakePageToken made for that list.
std::optional<std::string> ReadPageToken(absl::string_view list, absl::string_view token);

}  // namespace jobpool
