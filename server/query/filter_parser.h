#pragma once

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "server/query/filter_node.h"

namespace jobpool {

/// Reads a filter in the language of AIP-160, as ListJobsRequest describes it: within
/// kMaxFilterCharacters and kMaxFilterComparisons, parentheses at most 32 deep.
/// INVALID_ARGUMENT, with what is wrong and at which character (the first is 1).
absl::StatusOr<FilterNode> ParseFilter(absl::string_view text);

}  // namespace jobpool
