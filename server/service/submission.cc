#include "server/service/submission.h"

#include <utility>

#include "absl/hash/hash.h"

namespace jobpool {

void CheckOffered(Pipeline& pipeline, const JobSpec& spec, absl::string_view prefix, Violations& violations) {
  Violations lacking;
  pipeline.handlers().Check(spec.work, prefix, lacking);
  if (lacking.empty()) return;
  if (spec.request.has_value()) {
    const auto made = pipeline.admission().FindMade(*spec.request);
    if (!made.ok() || made->has_value()) return;
  }
  pipeline.handlers().Check(spec.work, prefix, violations);
}

void SetCaller(std::function<uint64_t()> connection, JobSpec& spec) {
  if (spec.request.has_value()) {
    spec.caller = [id = uint64_t{absl::HashOf(spec.request->id)}] { return id; };
  } else if (!spec.id.empty()) {
    spec.caller = [id = uint64_t{absl::HashOf(spec.id)}] { return id; };
  } else {
    spec.caller = std::move(connection);
  }
}

}  // namespace jobpool
