#pragma once

#include <optional>

#include "absl/strings/string_view.h"
#include "jobpool/v1/job.pb.h"
#include "server/job/validation.h"
#include "server/job/work.h"

namespace jobpool {

/// `with_payload`: false: without what `noop` and `custom` are given.
void EncodeWork(const Work& work, bool with_payload, v1::Job* job);

void EncodeResult(const Result& result, v1::Result* encoded);

/// Nothing, with a violation, if there is none; a violation too for each duration that is missing or none.
/// `prefix`: the path of the job.
std::optional<Work> DecodeWork(const v1::Job& job, absl::string_view prefix, Violations& violations);

}  // namespace jobpool
