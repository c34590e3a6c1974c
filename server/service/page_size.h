#pragma once

#include <algorithm>
#include <cstdint>

#include "absl/strings/string_view.h"
#include "server/job/validation.h"

namespace jobpool {

/// The size that a page shall have (AIP-158): 0 asks for the default, what is
/// above `max` is cut, negative is a violation.
inline size_t DecodePageSize(int32_t asked, int default_size, int max, Violations& violations) {
  if (asked < 0) violations.Add("page_size", "must not be negative");
  return static_cast<size_t>(asked <= 0 ? default_size : std::min(asked, max));
}

}  // namespace jobpool
