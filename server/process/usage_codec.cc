#include "server/process/usage_codec.h"

#include <algorithm>

namespace jobpool {
namespace {

// Of all processors together, for years.
constexpr absl::Duration kMaxTime = absl::Hours(24 * 365 * 100);

}  // namespace

void EncodeUsage(const ResourceUsage& usage, process::v1::Usage* to) {
  to->set_user_cpu_nanos(absl::ToInt64Nanoseconds(usage.user_cpu_time));
  to->set_system_cpu_nanos(absl::ToInt64Nanoseconds(usage.system_cpu_time));
  to->set_voluntary_context_switches(usage.voluntary_context_switches);
  to->set_involuntary_context_switches(usage.involuntary_context_switches);
  to->set_minor_page_faults(usage.minor_page_faults);
  to->set_major_page_faults(usage.major_page_faults);
  to->set_peak_memory_bytes(usage.peak_memory_bytes);
}

// A worker can say what it likes.
ResourceUsage DecodeUsage(const process::v1::Usage& usage) {
  const auto bounded = [](int64_t value) { return std::clamp<int64_t>(value, 0, int64_t{1} << 50); };
  const auto time = [](int64_t nanos) {
    return std::clamp(absl::Nanoseconds(nanos), absl::ZeroDuration(), kMaxTime);
  };
  return {time(usage.user_cpu_nanos()),
          time(usage.system_cpu_nanos()),
          bounded(usage.voluntary_context_switches()),
          bounded(usage.involuntary_context_switches()),
          bounded(usage.minor_page_faults()),
          bounded(usage.major_page_faults()),
          bounded(usage.peak_memory_bytes())};
}

}  // namespace jobpool
